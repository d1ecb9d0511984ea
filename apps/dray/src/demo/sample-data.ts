/**
 * The data of the demo's application: 5,000 files and at least 256 MiB, and everything that is easily lost on the way: hard links, holes, extended attributes, odd names (valid UTF-8),
 * symlinks, set-id and sticky bits, owners, empty files and folders, times before 1970 and to the nanosecond. The same seed gives the same bytes.
 */
import { createCipheriv, createSecretKey } from "node:crypto";
import { chmodSync, chownSync, closeSync, ftruncateSync, linkSync, mkdirSync, openSync, symlinkSync, writeSync } from "node:fs";
import { join } from "node:path";
import { utf8 } from "@drayage/base";
import type { SystemCalls } from "@drayage/kernels";

const SMALL_FILES = 4_900;
const SMALL_FILE_BYTES = 24 << 10;
const LARGE_FILES = 5;
const LARGE_FILE_BYTES = 30 << 20;
const FOLDERS = 70;

const ODD_NAMES = [
  " leading and trailing space ",
  "-dash",
  "--help",
  "new\nline",
  "tab\tand \\ backslash",
  "quote ' and \" double",
  "grüße-naïve-名前-имя",
  "🚢 container 📦",
  "é composed",
  "e\u0301 decomposed",
  "*?[glob]{x}$(echo)`id`",
  "x".repeat(255),
  "ü".repeat(127),
  "...",
  "<html>&amp;\u2028",
  "\u007f\u0001control",
] as const;

/** Endless repeatable bytes: the key stream of AES-256-CTR over a key made from the seed. */
function keyStream(seed: number): (length: number) => Buffer {
  const key = Buffer.alloc(32);
  key.writeUInt32BE(seed >>> 0);
  const cipher = createCipheriv("aes-256-ctr", createSecretKey(key), Buffer.alloc(16));
  return (length) => cipher.update(Buffer.alloc(length));
}

function writeFile(path: string, ...parts: readonly Uint8Array[]): void {
  const fd = openSync(path, "wx");
  try {
    for (const part of parts) writeSync(fd, part);
  } finally {
    closeSync(fd);
  }
}

export interface SampleDataOptions {
  readonly seed: number;
  /** Whether owners other than one's own can be given. */
  readonly asRoot: boolean;
  readonly system: SystemCalls;
}

/** Fills an empty folder. */
export function writeSampleData(root: string, { seed, asRoot, system }: SampleDataOptions): void {
  const bytes = keyStream(seed);
  const text = utf8("The quick brown fox jumps over the lazy dog, and the container is lashed down. ".repeat(400));
  for (let folder = 0; folder < FOLDERS; folder++) {
    const path = join(root, `files-${String(folder).padStart(3, "0")}`);
    mkdirSync(path);
    for (let file = folder; file < SMALL_FILES; file += FOLDERS) {
      const name = join(path, `${String(file).padStart(5, "0")}.dat`);
      // Sizes spread around the mean; every seventh file is text, so that compression has something to do.
      const length = 1 + ((file * 7919) % (2 * SMALL_FILE_BYTES));
      writeFile(name, file % 7 === 0 ? text.subarray(0, Math.min(length, text.length)) : bytes(length));
      if (asRoot && file % 11 === 0) chownSync(name, 1000 + (file % 5), 2000 + (file % 3));
      if (file % 13 === 0) chmodSync(name, 0o600 + (file % 64));
    }
  }
  mkdirSync(join(root, "large"));
  for (let file = 0; file < LARGE_FILES; file++) writeFile(join(root, "large", `${file}.bin`), bytes(LARGE_FILE_BYTES));
  // A second copy under another name: deduplication finds it.
  mkdirSync(join(root, "copies"));
  const again = keyStream(seed + 1)(LARGE_FILE_BYTES);
  writeFile(join(root, "copies", "one.bin"), again);
  writeFile(join(root, "copies", "two.bin"), again);
  writeOddities(root, bytes, system, asRoot);
}

function writeOddities(root: string, bytes: (length: number) => Buffer, system: SystemCalls, asRoot: boolean): void {
  const odd = join(root, "odd");
  mkdirSync(odd);
  for (const name of ODD_NAMES) writeFile(join(odd, name), bytes(100));
  writeFile(join(odd, "empty"));
  mkdirSync(join(odd, "empty-folder"));
  for (let link = 0; link < 20; link++) {
    linkSync(join(root, "large", "0.bin"), join(odd, `hard-link-${link}`));
    symlinkSync(link % 2 === 0 ? `hard-link-${link}` : `/nowhere/${link}/ü`, join(odd, `symlink-${link}`));
  }
  const sparse = openSync(join(odd, "sparse.img"), "wx");
  ftruncateSync(sparse, 512 << 20);
  writeSync(sparse, bytes(1 << 20), 0, 1 << 20, 64 << 20);
  writeSync(sparse, bytes(4096), 0, 4096, (512 << 20) - 4096);
  closeSync(sparse);
  for (let file = 0; file < 40; file++) {
    const path = join(odd, `attributes-${file}`);
    writeFile(path, bytes(64));
    system.setXattr(path, "user.drayage.demo", bytes(file));
    system.setXattr(path, "user.comment", utf8(`nº ${file}`));
  }
  const deep = join(odd, ...Array.from({ length: 40 }, (_, level) => `level-${level}`));
  mkdirSync(deep, { recursive: true });
  writeFile(join(deep, "at the bottom"), bytes(10));
  for (const [name, mode] of [
    ["set-user-id", 0o4755],
    ["set-group-id", 0o2755],
    ["no-permission", 0o000],
  ] as const) {
    writeFile(join(odd, name), bytes(32));
    if (asRoot) chownSync(join(odd, name), 1234, 4321);
    chmodSync(join(odd, name), mode);
  }
  mkdirSync(join(odd, "sticky"));
  chmodSync(join(odd, "sticky"), 0o1777);
  for (const [name, ns] of [
    ["before-1970", -1_234_567_890_123_456_789n],
    ["nanoseconds", 1_700_000_000_123_456_789n],
    ["after-2038", 2_500_000_000_000_000_001n],
  ] as const) {
    writeFile(join(odd, name), bytes(16));
    system.setTimes(join(odd, name), ns, ns);
  }
  system.setTimes(join(odd, "symlink-0"), 1_600_000_000_000_000_007n, 1_600_000_000_000_000_007n);
  system.setTimes(join(odd, "empty-folder"), 1_500_000_000_000_000_005n, 1_500_000_000_000_000_005n);
}
