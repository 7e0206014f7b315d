// What this package lets a user call: for the test and the fuzz that go through all of it.
'use strict';
const { readdirSync, readFileSync } = require('node:fs');
const { join } = require('node:path');

const isClass = (value) => typeof value === 'function' && /^class\b/.test(String(value));

/** The names of methods that TypeScript declares private or protected, and of what is public for the library alone. */
function internalNames() {
  const src = join(__dirname, '..', 'src');
  const names = ['bytes', 'checked', 'extraRepr', 'step'];
  for (const file of readdirSync(src, { recursive: true, encoding: 'utf8' })) {
    if (!file.endsWith('.ts')) continue;
    const text = readFileSync(join(src, file), 'utf8');
    for (const match of text.matchAll(/^ {2}(?:private|protected) (?:[a-z]+ )*\*?(\w+)[(<]/gm))
      names.push(match[1]);
  }
  return new Set(names);
}

/**
 * Every public function, class, static method, method and getter, once: `{ path, kind, value, owner, key }`. `owner` is
 * the class of a method or getter, or what a function is a member of; `key` the name of a method or getter.
 */
function publicCalls(exports) {
  const internal = internalNames();
  const seen = new Set();
  const calls = [];
  const add = (path, kind, value, owner, key) => {
    if (seen.has(value)) return;
    seen.add(value);
    calls.push({ path, kind, value, owner, key });
  };
  const visitClass = (Class, path) => {
    add(path, 'class', Class, undefined);
    for (const name of Object.getOwnPropertyNames(Class))
      if (name !== 'prototype' && typeof Class[name] === 'function')
        add(`${path}.${name}`, 'static', Class[name], Class);
    for (
      let prototype = Class.prototype;
      !/^(Object|Map|Error)$/.test(prototype.constructor.name);
      prototype = Object.getPrototypeOf(prototype)
    ) {
      for (const key of Reflect.ownKeys(prototype)) {
        const { value, get } = Object.getOwnPropertyDescriptor(prototype, key);
        if (key === 'constructor' || internal.has(key)) continue;
        const name = prototype === Class.prototype ? path : prototype.constructor.name;
        const at = `${name}.${typeof key === 'symbol' ? `[${key.description}]` : key}`;
        if (typeof value === 'function') add(at, 'method', value, Class, key);
        if (get !== undefined) add(at, 'getter', get, Class, key);
      }
    }
  };
  const visit = (holder, path) => {
    for (const [name, value] of Object.entries(holder)) {
      const at = path === '' ? name : `${path}.${name}`;
      if (isClass(value)) visitClass(value, at);
      else if (typeof value === 'function') add(at, 'function', value, holder);
      else if (typeof value === 'object' && value !== null && !/Mapping|QConfig|errorCodes/.test(name))
        visit(value, at);
    }
  };
  visit(exports, '');
  return calls;
}

module.exports = { isClass, publicCalls };
