import { csiError } from "@drayage/protocols/csi";

/** One page of a list, by id; the token is the last id of the page before. Throws ABORTED for a token that was never given out, INVALID_ARGUMENT for a negative size. */
export function pageOf<T extends { readonly id: string }>(
  all: readonly T[],
  { maxEntries, startingToken }: { readonly maxEntries: number; readonly startingToken: string },
): { readonly items: readonly T[]; readonly nextToken: string } {
  if (maxEntries < 0) throw csiError("INVALID_ARGUMENT", `Cannot list: maxEntries is ${maxEntries}`);
  if (startingToken !== "" && !/^(vol|snap)-[0-9a-f]{32}$/.test(startingToken)) throw csiError("ABORTED", `Cannot list: token "${startingToken}" is unknown`);
  const rest = all.filter((item) => item.id > startingToken).sort((a, b) => (a.id < b.id ? -1 : 1));
  const items = maxEntries === 0 ? rest : rest.slice(0, maxEntries);
  return { items, nextToken: items.length < rest.length ? (items.at(-1)?.id ?? "") : "" };
}
