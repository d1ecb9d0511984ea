/**
 * Object ids: `I`* `Z`? `D`? content id (kopia-format.md 7.1).
 *
 * Each leading `I` is one level of indirection: what follows names an object holding a list of objects. `Z` says that the content begins with a compression header
 * (format version 1). `D` is noise of old writers, accepted and dropped.
 */
import { DrayError } from "@drayage/base";
import type { ContentId } from "../content-port.ts";

declare const objectIdBrand: unique symbol;
export type ObjectId = string & { readonly [objectIdBrand]: true };

export interface ParsedObjectId {
  /** How many lists must be read before data is reached; 0 for a direct object. */
  readonly indirection: number;
  /** Whether the content carries a compression header of its own. */
  readonly compressed: boolean;
  readonly contentId: ContentId;
}

const OBJECT_ID = /^(I*)(Z?)(D?)([g-z]?(?:[0-9a-f]{2}){1,32})$/;

/** Throws REPO_CORRUPT for text that is no object id. */
export function parseObjectId(text: string): ParsedObjectId {
  const match = OBJECT_ID.exec(text);
  const [, indirect = "", z = "", , content = ""] = match ?? [];
  if (match === null || (indirect !== "" && z !== ""))
    throw new DrayError("REPO_CORRUPT", `Cannot read object id ${JSON.stringify(text.slice(0, 100))}: it is not one`);
  return { indirection: indirect.length, compressed: z !== "", contentId: content as ContentId };
}

/** The id without the noise of old writers. Throws REPO_CORRUPT for text that is no object id. */
export function objectIdOf(text: string): ObjectId {
  const { indirection, compressed, contentId } = parseObjectId(text);
  return `${"I".repeat(indirection)}${compressed ? "Z" : ""}${contentId}` as ObjectId;
}

export function directObjectId(contentId: ContentId): ObjectId {
  return contentId as string as ObjectId;
}

/** The id of the object that the list stored as `list` describes. */
export function indirectObjectId(list: ObjectId): ObjectId {
  return `I${list}` as ObjectId;
}

/** The object that holds the list, for an indirect id. */
export function listObjectId(id: ObjectId): ObjectId {
  return id.slice(1) as ObjectId;
}
