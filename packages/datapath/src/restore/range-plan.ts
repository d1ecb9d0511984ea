/**
 * What is wanted, as ranges to fetch: contents by pack and offset, neighbours in one range. Each pack is gone through once, each content is fetched once however often it is wanted.
 *
 *   wanted, in tree order     a@p1:10  b@p2:0  c@p1:0  a@p1:10 …
 *   ranges                    p1 [c a] → a for two targets · p2 [b]
 *
 * A plan holds names and numbers only, no data: some 300 bytes for each content and 100 for each target.
 */
import type { ContentRef } from "./restore-source.ts";

export interface WantedContent<T> {
  readonly content: ContentRef;
  readonly targets: T[];
}

export interface PlannedRange<T> {
  /** Undefined for one content that is read by itself. */
  readonly pack: string | undefined;
  readonly offset: number;
  readonly length: number;
  /** By offset. */
  readonly contents: readonly WantedContent<T>[];
  /** Bytes of the contents: the rest of the range is read for nothing. */
  readonly bytesNeeded: number;
}

export interface RangeLimits {
  /** So many bytes that nobody wants are read rather than asked around: a request costs more than they do. */
  readonly gapBytesMax: number;
  /** A range ends at this length; a content that is longer is a range of its own. */
  readonly rangeBytesMax: number;
  /** A range ends at so many targets; a content that has more comes in several ranges. */
  readonly targetsMax: number;
}

export class RangePlan<T> {
  readonly #wanted = new Map<string, WantedContent<T>>();
  #targets = 0;
  #bytes = 0;

  get targets(): number {
    return this.#targets;
  }

  /** Bytes of the contents, decoded. */
  get bytes(): number {
    return this.#bytes;
  }

  want(content: ContentRef, target: T): void {
    this.#targets++;
    const known = this.#wanted.get(content.id);
    if (known !== undefined) {
      known.targets.push(target);
      return;
    }
    this.#wanted.set(content.id, { content, targets: [target] });
    this.#bytes += content.originalLength;
  }

  /** The ranges, packs in the order in which they were first wanted. */
  ranges(limits: RangeLimits): PlannedRange<T>[] {
    const byPack = new Map<string, WantedContent<T>[]>();
    const ranges: PlannedRange<T>[] = [];
    for (const wanted of this.#wanted.values()) {
      for (const part of partsOf(wanted, limits.targetsMax)) {
        const { pack, length } = part.content;
        if (pack === undefined) {
          ranges.push({ pack, offset: 0, length, contents: [part], bytesNeeded: length });
          continue;
        }
        const known = byPack.get(pack);
        if (known === undefined) byPack.set(pack, [part]);
        else known.push(part);
      }
    }
    for (const [pack, contents] of byPack) for (const range of rangesOfPack(pack, contents, limits)) ranges.push(range);
    return ranges;
  }
}

function partsOf<T>(wanted: WantedContent<T>, targetsMax: number): WantedContent<T>[] {
  if (wanted.targets.length <= targetsMax) return [wanted];
  const parts: WantedContent<T>[] = [];
  for (let at = 0; at < wanted.targets.length; at += targetsMax) parts.push({ content: wanted.content, targets: wanted.targets.slice(at, at + targetsMax) });
  return parts;
}

function* rangesOfPack<T>(pack: string, contents: WantedContent<T>[], limits: RangeLimits): Generator<PlannedRange<T>> {
  contents.sort((a, b) => a.content.offset - b.content.offset || a.content.length - b.content.length);
  let held: WantedContent<T>[] = [];
  let offset = 0;
  let end = 0;
  let targets = 0;
  let bytesNeeded = 0;
  for (const wanted of contents) {
    const { offset: from, length } = wanted.content;
    const to = Math.max(end, from + length);
    const fits = from - end <= limits.gapBytesMax && to - offset <= limits.rangeBytesMax && targets + wanted.targets.length <= limits.targetsMax;
    if (held.length > 0 && !fits) {
      yield { pack, offset, length: end - offset, contents: held, bytesNeeded };
      held = [];
    }
    if (held.length === 0) {
      offset = from;
      end = from;
      targets = 0;
      bytesNeeded = 0;
    }
    // A content that is there twice, for more targets than one range takes, is needed once.
    bytesNeeded += Math.max(0, from + length - Math.max(from, end));
    end = Math.max(end, from + length);
    targets += wanted.targets.length;
    held.push(wanted);
  }
  if (held.length > 0) yield { pack, offset, length: end - offset, contents: held, bytesNeeded };
}
