/**
 * What of a tree is left out of its snapshot: ignore lists of policies, ignore files, the largest size, other file systems, cache directories (Kopia: fs/ignorefs).
 *
 * A directory has the scope of the one above it, unless a policy is defined for it or an ignore file lies in it. Rules are asked from the root down; those of one directory in their
 * order. A rule with `!` takes back in what was excluded before it, but nothing below a directory that is excluded, since that is never looked into.
 */
import { messageOf } from "@drayage/base";
import type { PolicyTree } from "./policy-tree.ts";
import { parseWildcard, type Wildcard } from "./wildcard.ts";

/** What a directory with the signature in its `CACHEDIR.TAG` promises: that everything in it can be made again (https://bford.info/cachedir/). */
export const CACHE_DIRECTORY_TAG = "CACHEDIR.TAG";
export const CACHE_DIRECTORY_SIGNATURE = "Signature: 8a477f597d28d172789f06886806bc55";

/** An ignore file that was found. */
export interface IgnoreFile {
  readonly name: string;
  readonly text: string;
}

export class IgnoreScope {
  readonly #above: IgnoreScope | undefined;
  readonly #wildcards: readonly Wildcard[];
  /** Names of files that hold further rules. */
  readonly dotIgnoreFiles: readonly string[];
  /** Bytes; 0 where there is no limit. */
  readonly maxFileBytes: number;
  readonly oneFileSystem: boolean;

  private constructor(
    above: IgnoreScope | undefined,
    parts: Pick<IgnoreScope, "dotIgnoreFiles" | "maxFileBytes" | "oneFileSystem">,
    wildcards: readonly Wildcard[],
  ) {
    this.#above = above;
    this.#wildcards = wildcards;
    this.dotIgnoreFiles = parts.dotIgnoreFiles;
    this.maxFileBytes = parts.maxFileBytes;
    this.oneFileSystem = parts.oneFileSystem;
  }

  /** The scope around the root of a snapshot. */
  static outermost(): IgnoreScope {
    return new IgnoreScope(undefined, { dotIgnoreFiles: [], maxFileBytes: 0, oneFileSystem: false }, []);
  }

  /** Names of the ignore files to look for in a directory below this scope. */
  filesToLookFor(node: PolicyTree): readonly string[] {
    return node.defined === undefined ? this.dotIgnoreFiles : node.defined.dotIgnoreFiles;
  }

  /**
   * The scope of a directory.
   *
   * @param path - with a slash in front, empty for the root
   * @param onBadRule - told of a pattern in an ignore file that cannot be read; what it may have meant to leave out is stored
   * Throws USAGE for a pattern of a policy that cannot be read.
   */
  enter(path: string, node: PolicyTree, files: readonly IgnoreFile[], onBadRule: (file: string, message: string) => void): IgnoreScope {
    const { defined } = node;
    if (defined === undefined && files.length === 0) return this;
    const wildcards = (defined?.ignoreRules ?? []).map((rule) => parseWildcard(rule, path));
    for (const file of files) {
      for (const rule of rulesOf(file.text)) {
        try {
          wildcards.push(parseWildcard(rule, path));
        } catch (error) {
          onBadRule(file.name, messageOf(error));
        }
      }
    }
    const parts = {
      dotIgnoreFiles: this.filesToLookFor(node),
      maxFileBytes: defined === undefined || defined.maxFileBytes === 0 ? this.maxFileBytes : defined.maxFileBytes,
      oneFileSystem: defined === undefined ? this.oneFileSystem : defined.oneFileSystem,
    };
    return new IgnoreScope(this, parts, wildcards);
  }

  /** Whether there are rules, here or above. Without any `excludes` need not be asked. */
  get hasRules(): boolean {
    return this.#wildcards.length > 0 || this.#above?.hasRules === true;
  }

  /** Whether the rules leave an entry out. `path` is its text below the root, with a slash in front. */
  excludes(path: string, isDirectory: boolean): boolean {
    let excluded = this.#above?.excludes(path, isDirectory) ?? false;
    for (const wildcard of this.#wildcards) if (wildcard.negated === excluded) excluded = wildcard.matches(path, isDirectory);
    return excluded;
  }

  /** Whether a file is larger than policies allow. */
  isTooLarge(bytes: number): boolean {
    return this.maxFileBytes > 0 && bytes > this.maxFileBytes;
  }
}

/** The rules of an ignore file: its lines but empty ones and comments. */
function rulesOf(text: string): string[] {
  return text.split(/\r?\n/).filter((line) => !line.startsWith("#") && line.trim() !== "");
}
