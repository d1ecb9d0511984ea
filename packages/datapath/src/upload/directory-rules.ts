/**
 * What the policies of a source say about one directory of it: which entries are left out, how files are compressed and cut, which errors count.
 *
 *   names read ─► rules of this directory (ignore files in it are read) ─► names filtered ─► each file: too large? which compressor?
 *
 * Ignore files are data of the volume: they are never followed out of it, and a rule in one that cannot be read is a warning, so that more is stored rather than less.
 */
import { closeSync, readSync } from "node:fs";
import { asBuffer } from "@drayage/base";
import type { DirectoryNames } from "@drayage/kernels";
import {
  CACHE_DIRECTORY_SIGNATURE,
  CACHE_DIRECTORY_TAG,
  compressorForFile,
  type EffectivePolicy,
  type IgnoreFile,
  IgnoreScope,
  type PolicyTree,
  textOfByteString,
} from "@drayage/repo";
import type { AnchoredDirectory } from "../anchored-directory.ts";
import { isPathProblem } from "../entry-problems.ts";
import { atPath } from "../path-errors.ts";
import { below } from "./source-entry.ts";
import type { FileOptions, UploadContext } from "./upload-context.ts";
import { openRegularFile } from "./upload-file.ts";

/** Names as byte strings, each part in the order of bytes. */
interface KeptNames {
  readonly directories: readonly string[];
  readonly others: readonly string[];
}

/** Of a directory in which no rules are, as far as can be told from above. */
export interface PlainRules {
  /** Names, each with a slash behind it, one of which must be in it before there are some. */
  readonly namesWithRules: string;
  /** How each of its files is stored, where neither name nor size has a say in that. */
  readonly optionsOfAll: FileOptions | undefined;
}

/** Nobody writes longer lists of rules by hand. */
const IGNORE_FILE_BYTES_MAX = 1 << 20;

/** Names as the kernels give them. They become strings when a rule has to look at each: most directories have none. */
export class ListedNames {
  readonly all: DirectoryNames;
  #strings: KeptNames | undefined;

  constructor(all: DirectoryNames) {
    this.all = all;
  }

  get strings(): KeptNames {
    const { names, ends, directories } = this.all;
    const text = asBuffer(names);
    const strings = this.#strings === undefined ? Array.from(ends, (end, i) => text.toString("latin1", i === 0 ? 0 : ends[i - 1], end)) : [];
    this.#strings ??= { directories: strings.slice(0, directories), others: strings.slice(directories) };
    return this.#strings;
  }

  /** Whether something of this name, as a byte string, is there that is not a directory. */
  hasOther(name: string): boolean {
    const { names, ends, directories } = this.all;
    // Nothing is found everywhere.
    if (name === "") return false;
    const text = asBuffer(names);
    for (let at = text.indexOf(name, directories === 0 ? 0 : ends[directories - 1], "latin1"); at >= 0; at = text.indexOf(name, at + 1, "latin1")) {
      const index = firstEndAbove(ends, at);
      if (ends[index] === at + name.length && (index === 0 ? 0 : ends[index - 1]) === at) return true;
    }
    return false;
  }
}

/** The name in which the byte at `at` lies. */
function firstEndAbove(ends: Uint32Array, at: number): number {
  let [low, high] = [0, ends.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((ends[middle] ?? 0) > at) high = middle;
    else low = middle + 1;
  }
  return low;
}

function packedNames({ directories, others }: KeptNames): DirectoryNames {
  const all = [...directories, ...others];
  const ends = new Uint32Array(all.length);
  let end = 0;
  for (const [i, name] of all.entries()) {
    end += name.length;
    ends[i] = end;
  }
  return { names: new Uint8Array(Buffer.from(all.join(""), "latin1")), ends, directories: directories.length };
}

export class DirectoryRules {
  readonly #scope: IgnoreScope;
  readonly #node: PolicyTree;
  readonly #path: string;
  /** The directory holds what can be made again: it is stored as an empty one. */
  readonly #isCache: boolean;
  /** What was last said of a directory below; mostly they have one policy. */
  #plainBelow: { readonly node: PolicyTree; readonly plain: PlainRules | undefined } | undefined;

  constructor(scope: IgnoreScope, node: PolicyTree, path: string, isCache: boolean) {
    this.#scope = scope;
    this.#node = node;
    this.#path = path;
    this.#isCache = isCache;
  }

  /** The rules of the root of a source. Throws USAGE for a pattern of a policy that cannot be read. */
  static ofRoot(context: UploadContext, tree: PolicyTree, directory: AnchoredDirectory, names: ListedNames): DirectoryRules {
    return make(context, IgnoreScope.outermost(), tree, directory, "", names);
  }

  /** The rules of a directory below. `path` is its byte string below the root. */
  enter(context: UploadContext, directory: AnchoredDirectory, path: string, names: ListedNames): DirectoryRules {
    const name = path.slice(path.lastIndexOf("/") + 1);
    return make(context, this.#scope, this.#node.child(textOfByteString(name)), directory, path, names);
  }

  /** The rules of a directory below for which `plainIn` named what would bring some, and none of that is in it: nothing is left out there. */
  enterPlain(path: string): DirectoryRules {
    return new DirectoryRules(this.#scope, this.#node.child(textOfByteString(path.slice(path.lastIndexOf("/") + 1))), path, false);
  }

  /** The names that are stored. What is left out is counted. */
  filter(context: UploadContext, listed: ListedNames): DirectoryNames {
    if (this.#isCache) {
      context.counts.excludedDirectories++;
      return packedNames({ directories: [], others: [] });
    }
    if (!this.#scope.hasRules) return listed.all;
    const { strings } = listed;
    const keeps = (isDirectory: boolean) => (name: string) => !this.#scope.excludes(`/${textOfByteString(below(this.#path, name))}`, isDirectory);
    const [directories, others] = [strings.directories.filter(keeps(true)), strings.others.filter(keeps(false))];
    const left = { directories: strings.directories.length - directories.length, others: strings.others.length - others.length };
    context.counts.excludedDirectories += left.directories;
    context.counts.excludedFiles += left.others;
    return left.directories + left.others === 0 ? listed.all : { ...packedNames({ directories, others }), areFiles: listed.all.areFiles === true };
  }

  isTooLarge(bytes: number): boolean {
    return this.#scope.isTooLarge(bytes);
  }

  /** Whether what lies on another file system than its directory is left out. */
  get oneFileSystem(): boolean {
    return this.#scope.oneFileSystem;
  }

  /** What is to be known of the directory of this name where there are no rules in it; undefined where some hold already, or a policy is defined for it. */
  plainIn(name: string): PlainRules | undefined {
    const node = this.#node.child(textOfByteString(name));
    if (this.#plainBelow?.node !== node) this.#plainBelow = { node, plain: this.#plainOf(node) };
    return this.#plainBelow.plain;
  }

  #plainOf(node: PolicyTree): PlainRules | undefined {
    if (node.defined !== undefined || this.#scope.hasRules || this.#scope.oneFileSystem || this.isTooLarge(Number.POSITIVE_INFINITY)) return undefined;
    const files = this.#scope.filesToLookFor(node);
    const names = node.effective.ignoreCacheDirectories ? [...files, CACHE_DIRECTORY_TAG] : files;
    const { optionsOfAll } = new DirectoryRules(this.#scope, node, "", false);
    return { namesWithRules: names.map((file) => `${file}/`).join(""), optionsOfAll };
  }

  /** What holds for an entry of the directory. */
  policyOf(name: string): EffectivePolicy {
    return this.#node.child(textOfByteString(name)).effective;
  }

  /** How every file of the directory is stored, where neither its name nor its size has a say in that. */
  get optionsOfAll(): FileOptions | undefined {
    const { name, never, minBytes, maxBytes } = this.#node.effective.compression;
    const isForAll = name === "" || name === "none" || (never.length === 0 && minBytes <= 0 && maxBytes <= 0);
    return this.#node.holdsForAll && isForAll ? this.fileOptions("", 0) : undefined;
  }

  /** How the file of this name is stored. */
  fileOptions(name: string, bytes: number): FileOptions {
    const policy = this.policyOf(name);
    return { compressor: compressorForFile(policy, textOfByteString(name), bytes), splitter: policy.splitter === "" ? undefined : policy.splitter };
  }
}

function make(context: UploadContext, above: IgnoreScope, node: PolicyTree, directory: AnchoredDirectory, path: string, names: ListedNames): DirectoryRules {
  if (node.effective.ignoreCacheDirectories && isCacheDirectory(context, directory, names)) return new DirectoryRules(above, node, path, true);
  const files: IgnoreFile[] = [];
  for (const name of above.filesToLookFor(node)) {
    if (!names.hasOther(name)) continue;
    const text = readSmall(context, directory, name, path);
    if (text !== undefined) files.push({ name, text });
  }
  const scope = above.enter(
    path === "" ? "" : `/${textOfByteString(path)}`,
    node,
    files,
    (file, message) => void context.warnings.add(below(path, file), message),
  );
  return new DirectoryRules(scope, node, path, false);
}

function isCacheDirectory(context: UploadContext, directory: AnchoredDirectory, names: ListedNames): boolean {
  if (!names.hasOther(CACHE_DIRECTORY_TAG)) return false;
  return readBeginning(context, directory, CACHE_DIRECTORY_TAG, CACHE_DIRECTORY_SIGNATURE.length)?.toString("latin1") === CACHE_DIRECTORY_SIGNATURE;
}

function readSmall(context: UploadContext, directory: AnchoredDirectory, name: string, path: string): string | undefined {
  const bytes = readBeginning(context, directory, name, IGNORE_FILE_BYTES_MAX + 1);
  if (bytes === undefined || bytes.length > IGNORE_FILE_BYTES_MAX) {
    context.warnings.add(
      below(path, name),
      bytes === undefined ? "is not a file that rules could be read from" : "is too long for a list of rules, and none of them was used",
    );
    return undefined;
  }
  return bytes.toString("utf8");
}

/** The first bytes of a file, undefined for what is none or cannot be read. */
function readBeginning(context: UploadContext, directory: AnchoredDirectory, name: string, count: number): Buffer | undefined {
  try {
    const file = openRegularFile(context, directory, name);
    if (file === undefined) return undefined;
    try {
      const bytes = Buffer.alloc(Math.min(count, Number(file.stat.size)));
      return bytes.subarray(
        0,
        atPath("read", directory.pathOf(name), () => readSync(file.fd, bytes, 0, bytes.length, 0)),
      );
    } finally {
      closeSync(file.fd);
    }
  } catch (error) {
    if (isPathProblem(error)) return undefined;
    throw error;
  }
}
