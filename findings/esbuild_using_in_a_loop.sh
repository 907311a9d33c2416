#!/bin/sh
# esbuild 0.28.2, target node20: `using` in a loop remembers the error of an earlier turn.
#
# Expected: each turn of a loop has its own scope; the error of turn 1, caught outside the scope of the resource,
# is over when turn 2 begins. So: "1 caught of turn 1", "2 ran", "3 ran".
# Seen: the scope is lowered to a try block with `var _error = _, _hasError = true` in its catch clause. `var`
# belongs to the function, not to the turn, so every later turn runs to its end and then throws the error of
# turn 1 again. A test that tries many files, each in a try block, reports the first failure for all the rest.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init -y > npm.log 2>&1
npm install --no-audit --no-fund --save-exact esbuild@0.28.2 >> npm.log 2>&1 || { cat npm.log; exit 2; }
cat > loop.ts << 'END'
class Thing {
  [Symbol.dispose](): void {}
}
for (const turn of [1, 2, 3]) {
  try {
    using thing = new Thing();
    if (turn === 1) throw new Error('of turn 1');
    console.log(turn, 'ran', typeof thing);
  } catch (error) {
    console.log(turn, 'caught', (error as Error).message);
  }
}
END
npx esbuild loop.ts --target=node20 --format=esm > loop.mjs
node loop.mjs > seen.txt
cat seen.txt
cat > wanted.txt << 'END'
1 caught of turn 1
2 ran object
2 caught of turn 1
3 ran object
3 caught of turn 1
END
cmp seen.txt wanted.txt && echo "as found: turns 2 and 3 throw the error of turn 1"
