/** Trees for comparison with other programs: what every backup tool must keep, and what only some do. */
import { chmodSync, chownSync, closeSync, ftruncateSync, linkSync, mkdirSync, openSync, symlinkSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { patternBytes } from "@drayage/datapath/testing";
import { systemCalls } from "@drayage/kernels";

const T0 = 1_700_000_000_000_000_000n;

/** A tree that Kopia stores whole: nothing in it needs an addition of ours. Made the same each time, times included. */
export function makePlainTree(root: string): void {
  mkdirSync(join(root, "dir", "sub", "deep"), { recursive: true });
  mkdirSync(join(root, "empty-dir"));
  mkdirSync(join(root, "Über", "🚢"), { recursive: true });
  const files: readonly (readonly [string, Buffer, number])[] = [
    ["a", Buffer.from("a"), 0o644],
    ["empty", Buffer.alloc(0), 0o600],
    ["Z", patternBytes(5000, 1), 0o640],
    ["large", patternBytes(21_000_000, 2), 0o644],
    ["zeros", Buffer.alloc(9 << 20), 0o644],
    ["dir/setuid", Buffer.from("x"), 0o4755],
    ["dir/setgid", Buffer.from("x"), 0o2755],
    ["dir/none", Buffer.from("x"), 0o000],
    ["dir/sub/deep/file", patternBytes(300_000, 3), 0o444],
    ["Über/<html>&amp;\u2028", Buffer.from("x"), 0o644],
    ['Über/\u007f\u0001\t\n"\\', Buffer.from("x"), 0o644],
    ["Über/\ufffd genuine", Buffer.from("x"), 0o644],
    ["Über/\uffee before", Buffer.from("x"), 0o644],
    ["Über/🚢/é", Buffer.from("é"), 0o644],
    ["Über/x".padEnd(200, "x"), Buffer.from("x"), 0o644],
  ];
  for (const [name, data, mode] of files) {
    writeFileSync(join(root, name), data);
    // Before the mode: a change of owner clears the set-id bits.
    if (name === "dir/setgid" && process.getuid?.() === 0) chownSync(join(root, name), 1000, 1001);
    chmodSync(join(root, name), mode);
  }
  symlinkSync("../a", join(root, "dir", "link"));
  symlinkSync("/nowhere/ü", join(root, "dangling"));
  chmodSync(join(root, "dir", "sub"), 0o1777);
  const times = [...files.map(([name]) => name), "dir/link", "dangling", "dir/sub/deep", "dir/sub", "dir", "empty-dir", "Über/🚢", "Über", "."];
  times.forEach((name, index) => {
    const ns = name === "a" ? -1n : name === "empty" ? 0n : T0 + BigInt(index) * 1_001_001_001n;
    systemCalls.setTimes(join(root, name), ns, ns);
  });
}

/** Adds what Kopia has no place for. */
export function addExtras(root: string): void {
  linkSync(join(root, "large"), join(root, "dir", "hard-link"));
  const sparse = openSync(join(root, "sparse"), "w");
  ftruncateSync(sparse, 64 << 20);
  writeSync(sparse, patternBytes(100_000, 4), 0, 100_000, 30 << 20);
  closeSync(sparse);
  systemCalls.setXattr(join(root, "Z"), "user.drayage", patternBytes(1000, 5));
  systemCalls.setXattr(join(root, "dir"), "user.of-a-directory", Buffer.from("value"));
  systemCalls.setXattr(root, "user.of-the-root", Buffer.from("value"));
  systemCalls.makeNode(join(root, "pipe"), 0o010640, 0, 0);
  writeFileSync(Buffer.concat([Buffer.from(`${root}/not-utf8-`), Buffer.of(0xff, 0xe2, 0x82)]), "odd");
  systemCalls.setTimes(root, T0, T0);
}
