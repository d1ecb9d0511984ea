/** One line for an entry of a snapshot, as `ls -l` shows it. */
import { type DirectoryEntry, type SpecialEntry, textOfByteString } from "@drayage/repo";
import { formatStart } from "./snapshot-json.ts";

const LETTERS = { file: "-", directory: "d", symlink: "l", fifo: "p", socket: "s", char: "c", block: "b" } as const;

export function longLine(entry: DirectoryEntry | SpecialEntry, name: string = textOfByteString(entry.name)): string {
  const isSpecial = "kind" in entry;
  const size = isSpecial ? deviceOf(entry) : String(entry.summary?.size ?? entry.size);
  return `${LETTERS[isSpecial ? entry.kind : entry.type]}${permissions(entry.mode)} ${entry.uid}:${entry.gid} ${size.padStart(12)} ${formatStart(entry.mtimeNs)} ${name}`;
}

function deviceOf({ device }: SpecialEntry): string {
  return device === undefined ? "0" : `${device.major},${device.minor}`;
}

/** `rwsr-xr-t`. */
export function permissions(mode: number): string {
  const special = [
    { bit: 0o4000, letter: "s" },
    { bit: 0o2000, letter: "s" },
    { bit: 0o1000, letter: "t" },
  ];
  return special
    .map(({ bit, letter }, index) => {
      const bits = (mode >> (6 - 3 * index)) & 7;
      const executes = (bits & 1) !== 0;
      const last = (mode & bit) === 0 ? (executes ? "x" : "-") : executes ? letter : letter.toUpperCase();
      return `${(bits & 4) === 0 ? "-" : "r"}${(bits & 2) === 0 ? "-" : "w"}${last}`;
    })
    .join("");
}
