import { getSystemErrorName } from "node:util";
import type { NativeAddon } from "../native/addon.ts";
import { type BatchFiles, type DirectoryCall, type DirectoryScan, directoryPrefix } from "./batch-files.ts";

const NO_PREFIX = new Uint8Array(0);

/** What the addon knows a scan by. */
const scans = new WeakMap<DirectoryScan, object>();

/** The calls of the addon. */
export function nativeFiles(addon: NativeAddon): BatchFiles {
  return {
    listDirectory(fd) {
      const found = addon.listDirectory(fd);
      if (typeof found !== "number") return found;
      const code = getSystemErrorName(-found);
      throw Object.assign(new Error(`${code}: list directory`), { code, errno: -found, syscall: "readdir" });
    },
    statEntries(fd, { names, ends }, { from, to }, attributes, rows) {
      addon.statEntries(fd, names, ends, from, to, attributes ? Buffer.from(directoryPrefix(fd)) : NO_PREFIX, rows);
    },
    readFiles: (fd, { names, ends }, picks, { attributes, bytesMax }, rows, arena) =>
      addon.readFiles(fd, names, ends, picks, attributes ? 1 : 0, bytesMax, rows, arena),
    compareEntries: ({ names, ends }, { from, to }, { bytes, at }, keyBytes, { rows, keys, entries, runs, found }) =>
      addon.compareEntries(names, ends, from, to, bytes, at, keyBytes, rows, keys, entries, runs, found),
    compareDirectory: (...call) => addon.compareDirectory(...flat(call)),
    scanDirectories(path, { attributes, bytesMax }) {
      const [scan, ended] = addon.directoryScan(typeof path === "string" ? Buffer.from(path) : path, attributes ? 1 : 0, bytesMax);
      const begun: DirectoryScan = { stop: () => addon.stopScan(scan), drop: () => addon.dropScan(scan), ended };
      scans.set(begun, scan);
      return begun;
    },
    comparisonQueue(places, threads, scan) {
      const seen = scan === undefined ? undefined : scans.get(scan);
      const queue = seen === undefined ? addon.comparisonQueue(places, threads) : addon.comparisonQueue(places, threads, seen);
      return {
        put: (place, call) => addon.putComparison(queue, place, flat(call)),
        finish: (place) => addon.finishComparison(queue, place),
        drop: (place) => addon.dropComparison(queue, place),
      };
    },
    encodeStored: ({ names, ends }, { from, to }, rows, { bytes, digestBytes }, { out, at, outEnds }) =>
      addon.encodeStored(names, ends, from, to, rows, bytes, digestBytes, out, at, outEnds),
    encodeEntries: ({ names, ends }, picks, rows, out, outEnds) => addon.encodeEntries(names, ends, picks, rows, out, outEnds),
  };
}

function flat([fd, name, { attributes, avoid }, parent, keyBytes, into]: DirectoryCall): Parameters<NativeAddon["compareDirectory"]> {
  const { names, ends, rows, keys, entries, runs, found, rewritten } = into;
  const call = [fd, name, attributes ? 1 : 0, avoid, parent, keyBytes, names, ends, rows, keys, entries, runs, found] as const;
  if (rewritten === undefined) return [...call];
  const { key, digestBytes, level, bytesMax, data, ranges, hashes, text, payload } = rewritten;
  return [...call, key, digestBytes, level, bytesMax, data, ranges, hashes, text, payload];
}
