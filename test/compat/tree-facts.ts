/** What a tree is, entry by entry, read with plain system calls, so that two trees can be compared. */
import { createHash } from "node:crypto";
import { lstatSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { systemCalls } from "@drayage/kernels";

export interface Fact {
  readonly type: "file" | "directory" | "symlink" | "other";
  readonly mode: string;
  readonly owner: string;
  readonly mtimeNs: string;
  readonly size: number;
  /** Digest of a file, target of a link. */
  readonly content: string;
  /** The names of the same file, the path that sorts first. */
  readonly linkOf: string;
  readonly isSparse: boolean;
  readonly xattrs: string;
}

/** Facts by path; paths are byte strings. */
export function treeFacts(root: string): Map<string, Fact> {
  const facts = new Map<string, Fact>();
  const firstNames = new Map<string, string>();
  const visit = (path: string): void => {
    const at = Buffer.from(path === "" ? root : `${root}/${path}`, "latin1");
    const stat = lstatSync(at, { bigint: true });
    const type = stat.isFile() ? "file" : stat.isDirectory() ? "directory" : stat.isSymbolicLink() ? "symlink" : "other";
    const inode = String(stat.ino);
    if (type === "file" && !firstNames.has(inode)) firstNames.set(inode, path);
    const content = type === "file" ? createHash("sha256").update(readFileSync(at)).digest("hex") : type === "symlink" ? readlinkSync(at, "latin1") : "";
    facts.set(path === "" ? "." : path, {
      type,
      mode: (stat.mode & 0o7777n).toString(8),
      owner: `${stat.uid}:${stat.gid}`,
      mtimeNs: String(stat.mtimeNs),
      size: type === "file" ? Number(stat.size) : 0,
      content,
      linkOf: type === "file" ? (firstNames.get(inode) ?? "") : "",
      isSparse: type === "file" && stat.blocks * 512n < stat.size / 2n,
      xattrs: systemCalls
        .listXattrs(at)
        .filter(({ name }) => name.startsWith("user."))
        .map(({ name, value }) => `${name}=${Buffer.from(value).toString("base64")}`)
        .join(" "),
    });
    if (type === "directory") for (const name of readdirSync(at, { encoding: "latin1" }).sort()) visit(path === "" ? name : `${path}/${name}`);
  };
  visit("");
  return facts;
}

/** The facts that Kopia keeps: no links of files, holes, attributes, nor times of subdirectories. */
export function kopiaFacts(facts: ReadonlyMap<string, Fact>): Record<string, unknown> {
  const kept: Record<string, unknown> = {};
  for (const [path, { type, mode, owner, mtimeNs, size, content }] of facts) {
    if (type === "other") continue;
    // Times of links come back rounded.
    const time = type === "directory" ? "" : type === "symlink" ? mtimeNs.slice(0, -9) : mtimeNs;
    kept[path] = [type, type === "symlink" ? "" : mode, owner, time, size, content].join(" ");
  }
  return kept;
}
