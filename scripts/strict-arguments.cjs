// A surplus argument is an error in plain JavaScript too, and in a callback, where TypeScript allows it: `map` passes three
// arguments. The check is written into every public function, method and constructor when src is bundled (bundle.mjs)
// and tested (jest-transform.cjs). By hand it would be a line in each of five hundred functions, or a wrapper around
// each, which callers would see in stack traces. A function with a rest parameter looks at its arguments itself.
'use strict';
const { existsSync, readFileSync } = require('node:fs');
const { dirname, join, relative } = require('node:path');
const ts = require('typescript');

const src = join(__dirname, '..', 'src');
const constructed = '`new ${new.target.name}`';
const parse = (path, text) => ts.createSourceFile(path, text, ts.ScriptTarget.ES2022, true);

/** The names of the functions of each file that index.ts exports, itself or through other files; `*` for all of them. */
let publicNames;
function namesIn(path) {
  if (publicNames === undefined) {
    publicNames = new Map();
    visitExports(join(src, 'index.ts'), undefined);
  }
  return publicNames.get(path) ?? new Set();
}
function visitExports(path, wanted) {
  if (!existsSync(path)) return;
  const known = publicNames.get(path) ?? new Set();
  publicNames.set(path, known);
  for (const name of wanted ?? ['*']) known.add(name);
  for (const statement of parse(path, readFileSync(path, 'utf8')).statements) {
    if (!ts.isExportDeclaration(statement) || statement.isTypeOnly || statement.moduleSpecifier === undefined)
      continue;
    const target = join(dirname(path), statement.moduleSpecifier.text.replace(/\.js$/, '.ts'));
    const clause = statement.exportClause;
    if (clause === undefined || ts.isNamespaceExport(clause)) visitExports(target, undefined);
    else {
      const names = clause.elements.filter(
        ({ isTypeOnly, name }) => !isTypeOnly && (wanted === undefined || wanted.includes(name.text)),
      );
      if (names.length > 0)
        visitExports(
          target,
          names.map(({ name, propertyName }) => (propertyName ?? name).text),
        );
    }
  }
}

/** The text of a file of src with the checks in it, each in the line where its function begins. */
function strictArguments(path, text) {
  const relativePath = relative(src, path);
  if (relativePath.startsWith('..') || /^cli|formats|\.d\.ts$/.test(relativePath)) return text;
  const names = namesIn(path);
  const insertions = [];
  const checked = (label, most) =>
    ` if (arguments.length > ${most}) surplus(${label}, ${most}, arguments.length);`;
  // A method that gives `never` has an error of its own.
  const check = ({ body, parameters, type }, label) => {
    if (
      body !== undefined &&
      type?.kind !== ts.SyntaxKind.NeverKeyword &&
      !parameters.some(({ dotDotDotToken }) => dotDotDotToken)
    )
      insertions.push([body.getStart() + 1, checked(label, parameters.length)]);
  };
  for (const statement of parse(path, text).statements) {
    if (ts.isFunctionDeclaration(statement) && isExported(statement)) {
      const name = statement.name.text;
      if (names.has('*') || names.has(name)) check(statement, `'${name}'`);
    }
    if (!ts.isClassDeclaration(statement)) continue;
    const { members, heritageClauses } = statement;
    for (const member of members) {
      if (ts.isConstructorDeclaration(member)) check(member, constructed);
      else if (ts.isMethodDeclaration(member) && isPublic(member)) check(member, `'${member.name.text}'`);
    }
    // A class without a constructor passes all arguments to the class that it extends.
    if (heritageClauses === undefined && !members.some(ts.isConstructorDeclaration))
      insertions.push([members.pos, ` constructor() { ${checked(constructed, 0)} }`]);
  }
  if (insertions.length === 0) return text;
  const errors = relative(dirname(path), join(src, 'errors.js'));
  const specifier = errors.startsWith('.') ? errors : `./${errors}`;
  const start = relativePath === 'errors.ts' ? '' : `import { surplus } from '${specifier}'; `;
  let strict = text;
  for (const [at, inserted] of insertions.sort(([a], [b]) => b - a))
    strict = strict.slice(0, at) + inserted + strict.slice(at);
  return start + strict;
}

const hasModifier = (node, ...kinds) => (node.modifiers ?? []).some(({ kind }) => kinds.includes(kind));
const isExported = (node) => hasModifier(node, ts.SyntaxKind.ExportKeyword);
// What has a symbol for a name is called by JavaScript and Node, with arguments of their choice.
const isPublic = (node) =>
  ts.isIdentifier(node.name) &&
  !hasModifier(node, ts.SyntaxKind.PrivateKeyword, ts.SyntaxKind.ProtectedKeyword);

module.exports = { strictArguments };
