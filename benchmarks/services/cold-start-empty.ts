// What the others are compared with. `memory` makes each of them print its resident bytes.
if (process.argv[3] === 'memory') process.stdout.write(String(process.memoryUsage.rss()));
