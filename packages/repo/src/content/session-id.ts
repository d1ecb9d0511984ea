/**
 * Session ids (kopia-format.md 1.1): `s` · 16 hex digits of 8 random bytes · hex without padding of the 30-day periods since 2000.
 * Every blob that one flush writes carries the same one, so that maintenance knows which packs a living writer may still index.
 */
import { type RandomSource, randomHex, utf8 } from "@drayage/base";
import { formatGoTime, stringifyGo } from "../format/go-json.ts";

const RANDOM_BYTES = 8;
const YEAR_2000_MS = Date.UTC(2000, 0, 1);
const PERIOD_MS = 30 * 24 * 3_600_000;

export function newSessionId(random: RandomSource, nowMs: number): string {
  const period = Math.max(0, Math.floor((nowMs - YEAR_2000_MS) / PERIOD_MS));
  return `s${randomHex(random, RANDOM_BYTES)}${period.toString(16)}`;
}

/** The session that a blob belongs to: of the parts between dashes, behind the first, the first that begins with `s`. */
export function sessionOfBlob(blobId: string): string | undefined {
  return blobId
    .split("-")
    .slice(1)
    .find((part) => part.startsWith("s"));
}

export interface SessionMarker {
  readonly id: string;
  readonly startTimeMs: number;
  readonly checkpointTimeMs: number;
  readonly username: string;
  readonly hostname: string;
}

/** The plaintext of a session marker. */
export function encodeSessionMarker(marker: SessionMarker): Uint8Array {
  return utf8(
    stringifyGo({
      id: marker.id,
      startTime: formatGoTime(marker.startTimeMs),
      checkpointTime: formatGoTime(marker.checkpointTimeMs),
      username: marker.username,
      hostname: marker.hostname,
    }),
  );
}
