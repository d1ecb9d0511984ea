#!/usr/bin/env node
// Starts the program under Node >= 24, and answers `--version` itself: the question is asked often, and nothing needs loading for it. Must parse on Node 18.
"use strict";
const fs = require("node:fs");
const path = require("node:path");

const WANTED_MAJOR = 24;
const here = path.resolve(__dirname, "..");

function main() {
  const args = process.argv.slice(2);
  if (args.length === 1 && args[0] === "--version") {
    process.stdout.write(`dray ${JSON.parse(fs.readFileSync(path.join(here, "package.json"), "utf8")).version}\n`);
    return;
  }
  const checkout = path.resolve(here, "..", "..");
  if (Number(process.versions.node.split(".")[0]) >= WANTED_MAJOR) {
    require("node:module").enableCompileCache?.(process.env.NODE_COMPILE_CACHE || path.join(checkout, "node_modules", ".cache", "compile"));
    const entry = require(path.join(checkout, "scripts", "program.cjs")).programEntry(checkout);
    void import(require("node:url").pathToFileURL(entry).href).then((program) => program.main());
    return;
  }
  process.argv.splice(2, process.argv.length, "dray", ...args);
  require(path.join(checkout, "scripts", "node24.cjs"));
}

main();
