/**
 * Where a blob lies below the root of a Kopia filesystem repository.
 *
 * A short id lies in the root. Of a longer one, each shard size in turn cuts off that many characters as a folder name, and what remains is the file name; `.f` is appended.
 * The rule of a repository is stored beside it in `.shards`, one line of JSON with a final newline: `{"default":[1,3],"maxNonShardedLength":20}`,
 * with an optional list `overrides` of `{"prefix":"…","shards":[…]}` of which the first match wins. Kopia: repo/blob/sharded.
 */
import { DrayError, messageOf } from "@drayage/base";
import type { BlobId } from "../storage.ts";

export const SHARDS_FILE = ".shards";
export const BLOB_SUFFIX = ".f";

export interface ShardingRule {
  readonly defaultShards: readonly number[];
  readonly maxNonShardedLength: number;
  readonly overrides: readonly { readonly prefix: string; readonly shards: readonly number[] }[];
}

/** Of a repository that is being created. */
export const createdSharding: ShardingRule = { defaultShards: [1, 3], maxNonShardedLength: 20, overrides: [] };
/** Of a repository without `.shards`: written by a Kopia older than 0.9. */
export const legacySharding: ShardingRule = { ...createdSharding, defaultShards: [3, 3] };

/** The path of a blob's file below the root, as its parts. */
export function blobPath(rule: ShardingRule, id: BlobId): readonly string[] {
  if (id.length <= rule.maxNonShardedLength) return [id + BLOB_SUFFIX];
  const parts: string[] = [];
  let rest = id;
  for (const size of rule.overrides.find((override) => id.startsWith(override.prefix))?.shards ?? rule.defaultShards) {
    if (rest.length <= size) break;
    parts.push(rest.slice(0, size));
    rest = rest.slice(size);
  }
  return [...parts, rest + BLOB_SUFFIX];
}

export function encodeSharding(rule: ShardingRule): string {
  const overrides = rule.overrides.length === 0 ? {} : { overrides: rule.overrides };
  return `${JSON.stringify({ default: rule.defaultShards, maxNonShardedLength: rule.maxNonShardedLength, ...overrides })}\n`;
}

/** Throws REPO_CORRUPT when the text is not a sharding rule: guessing would make every blob look absent. */
export function decodeSharding(text: string, path: string): ShardingRule {
  const refuse = (what: string): never => {
    throw new DrayError("REPO_CORRUPT", `Cannot read "${path}": ${what}`, {
      hint: 'The file says where the blobs of this repository lie; restore it from a copy, for a repository of today\'s defaults as {"default":[1,3],"maxNonShardedLength":20}.',
    });
  };
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    return refuse(messageOf(error));
  }
  if (typeof value !== "object" || value === null) return refuse("an object is wanted");
  const { default: shards = [], maxNonShardedLength = 0, overrides = [] } = value as Record<string, unknown>;
  if (!isShards(shards)) return refuse('"default" is not a list of shard sizes');
  if (typeof maxNonShardedLength !== "number" || !Number.isInteger(maxNonShardedLength) || maxNonShardedLength < 0)
    return refuse('"maxNonShardedLength" is not a length');
  if (overrides !== null && !Array.isArray(overrides)) return refuse('"overrides" is not a list');
  const rules = ((overrides ?? []) as unknown[]).map((entry) => {
    const { prefix, shards: own } = (entry ?? {}) as Record<string, unknown>;
    return typeof prefix === "string" && isShards(own) ? { prefix, shards: own } : refuse('an entry of "overrides" is not {"prefix","shards"}');
  });
  return { defaultShards: shards, maxNonShardedLength, overrides: rules };
}

function isShards(value: unknown): value is readonly number[] {
  return Array.isArray(value) && value.every((size) => Number.isInteger(size) && size > 0);
}
