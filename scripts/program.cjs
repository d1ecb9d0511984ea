// Which files the program is run from: a bundle of exactly these sources where there is one, otherwise the sources themselves. Must parse on Node 18.
//
// Running from TypeScript costs every process some hundred small files to find, read and strip. `npm run build` (and the demo, the tests and the benchmarks, before
// they start) bundles the sources into a few files under node_modules/.cache/dray/FINGERPRINT/. The fingerprint is taken from what `stat` says of every source: its
// change time moves whenever a file is written, renamed or replaced, and no program can set it back, so that a bundle of other sources is never found under it.
"use strict";
const { createHash } = require("node:crypto");
const fs = require("node:fs");
const path = require("node:path");

/** Files of the build itself and of what it takes from node_modules, below the root. npm rewrites the last one whenever it changes anything there. */
const BUILD_FILES = ["package.json", "tools/bundle.ts", "scripts/program.cjs", "node_modules/.package-lock.json"];
/** Folders of a package that the program is made of. */
const SOURCE_FOLDERS = ["src", "crds", "native"];
/** A file that was changed less than this before the fingerprint was taken may change once more without its change time moving: the clock of a file system has steps. */
const SETTLED_MS = 1000;

/**
 * What a bundle of the sources under `root` is called, from the state that `stat` gives of each; undefined where there are none, as in an installed package.
 * `settled` is false while the newest change is younger than a second.
 */
function sourceFingerprint(root) {
  const hash = createHash("sha256");
  let newestMs = 0;
  const add = (file) => {
    const stat = fs.statSync(file, { bigint: true, throwIfNoEntry: false });
    hash.update(stat === undefined ? `${file} missing\n` : `${file} ${stat.ino} ${stat.size} ${stat.mtimeNs} ${stat.ctimeNs}\n`);
    if (stat !== undefined) newestMs = Math.max(newestMs, Number(stat.ctimeNs / 1000000n));
  };
  const addFolder = (folder) => {
    for (const entry of readFolder(folder)) {
      const file = path.join(folder, entry.name);
      if (entry.isFile()) {
        if (!entry.name.includes(".test.")) add(file);
      } else if (entry.isDirectory() && entry.name !== "testing" && entry.name !== "build") addFolder(file);
    }
  };
  for (const group of ["packages", "apps"]) {
    for (const { name } of readFolder(path.join(root, group))) {
      add(path.join(root, group, name, "package.json"));
      for (const folder of SOURCE_FOLDERS) addFolder(path.join(root, group, name, folder));
    }
  }
  if (newestMs === 0) return undefined;
  for (const file of BUILD_FILES) add(path.join(root, file));
  return { name: hash.digest("hex").slice(0, 32), settled: Date.now() - newestMs > SETTLED_MS };
}

/** Entries by name; none where there is no such folder. */
function readFolder(folder) {
  try {
    return fs.readdirSync(folder, { withFileTypes: true }).sort((a, b) => (a.name < b.name ? -1 : 1));
  } catch {
    return [];
  }
}

/** Where bundles of this checkout are kept. */
function bundleFolder(root) {
  return path.join(root, "node_modules", ".cache", "dray");
}

/** The file to start the program with. */
function programEntry(root) {
  const bundles = bundleFolder(root);
  // Without any bundle there is no need to look at the sources.
  if (fs.existsSync(bundles)) {
    const fingerprint = sourceFingerprint(root);
    const bundled = fingerprint === undefined ? undefined : path.join(bundles, fingerprint.name, "main.js");
    if (bundled !== undefined && fs.existsSync(bundled)) return bundled;
  }
  return path.join(root, "apps", "dray", "src", "main.ts");
}

module.exports = { bundleFolder, programEntry, sourceFingerprint };
