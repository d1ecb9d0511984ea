/** What a thread that seals file data loads of this package, and no more: starting one costs what it imports. */
export { type DirectoryEntry, encodeDirectoryEntry } from "../snapshot/directory-entry.ts";
export type { EntryExtension } from "../snapshot/extended-metadata.ts";
export { encodeEntryExtension, MEMBER } from "../snapshot/extended-metadata.ts";
export { type KnownToLane, type LaneOptions, type LanePorts, laneBufferBytes, openLane, type SealedPack, SealingLane } from "./sealing-lane.ts";
