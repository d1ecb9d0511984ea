/** JSON merge patch (RFC 7386) and JSON patch (RFC 6902), as far as tests of controllers need them. */
import { DrayError } from "@drayage/base";

/** The target with a merge patch applied; neither argument is changed. */
export function applyMergePatch(target: unknown, patch: unknown): unknown {
  if (!isRecord(patch)) return structuredClone(patch);
  const result: Record<string, unknown> = isRecord(target) ? { ...target } : {};
  for (const [name, value] of Object.entries(patch)) {
    if (value === null) delete result[name];
    else result[name] = applyMergePatch(result[name], value);
  }
  return result;
}

/**
 * A strategic merge patch without lists is a merge patch. With lists it depends on the merge keys of each type, which only an API server knows: those throw NOT_SUPPORTED,
 * so that a test cannot pass on a guess. `metadata.finalizers` and `metadata.ownerReferences` are known here.
 */
export function applyStrategicPatch(target: unknown, patch: unknown): unknown {
  const known = isRecord(patch) && isRecord(patch["metadata"]) ? patch["metadata"] : {};
  const { finalizers, ownerReferences, ...metadata } = known;
  const plain = isRecord(patch) ? { ...patch, ...("metadata" in patch ? { metadata } : {}) } : patch;
  if (hasList(plain))
    throw new DrayError("NOT_SUPPORTED", "Cannot apply a strategic merge patch with lists in the fake: use a merge patch, or test against an API server");
  const result = applyMergePatch(target, plain) as Record<string, unknown>;
  const meta = { ...(isRecord(result["metadata"]) ? result["metadata"] : {}) };
  if (Array.isArray(finalizers)) meta["finalizers"] = [...new Set([...((meta["finalizers"] as unknown[] | undefined) ?? []), ...finalizers])];
  if (Array.isArray(ownerReferences)) {
    const byUid = new Map(((meta["ownerReferences"] as { uid: string }[] | undefined) ?? []).map((reference) => [reference.uid, reference]));
    for (const reference of ownerReferences as { uid: string }[]) byUid.set(reference.uid, { ...byUid.get(reference.uid), ...reference });
    meta["ownerReferences"] = [...byUid.values()];
  }
  return { ...result, metadata: meta };
}

function hasList(value: unknown): boolean {
  return Array.isArray(value) || (isRecord(value) && Object.values(value).some(hasList));
}

interface Operation {
  readonly op: string;
  readonly path: string;
  readonly from?: string;
  readonly value?: unknown;
}

/** The target with a JSON patch applied. Throws KUBE_INVALID when an operation does not fit, as an API server answers 422. */
export function applyJsonPatch(target: unknown, operations: readonly Operation[]): unknown {
  const root: unknown = structuredClone(target);
  const holder = { root };
  for (const { op, path, from, value } of operations) {
    switch (op) {
      case "add":
        put(holder, path, structuredClone(value), true);
        break;
      case "replace":
        take(holder, path, false);
        put(holder, path, structuredClone(value), false);
        break;
      case "remove":
        take(holder, path, true);
        break;
      case "move":
        put(holder, path, take(holder, from ?? "", true), true);
        break;
      case "copy":
        put(holder, path, structuredClone(take(holder, from ?? "", false)), true);
        break;
      case "test":
        if (JSON.stringify(take(holder, path, false)) !== JSON.stringify(value)) refuse(`the test of "${path}" failed`);
        break;
      default:
        refuse(`operation "${op}" is unknown`);
    }
  }
  return holder.root;
}

function refuse(why: string): never {
  throw new DrayError("KUBE_INVALID", `Cannot apply JSON patch: ${why}`);
}

function locate(holder: { root: unknown }, pointer: string): { readonly parent: Record<string, unknown> | unknown[]; readonly last: string } {
  const parts = ["root", ...pointer.split("/").slice(1)].map((part) => part.replaceAll("~1", "/").replaceAll("~0", "~"));
  let parent: unknown = holder;
  for (const part of parts.slice(0, -1)) parent = isRecord(parent) || Array.isArray(parent) ? (parent as Record<string, unknown>)[part] : undefined;
  if (!isRecord(parent) && !Array.isArray(parent)) return refuse(`"${pointer}" has no parent`);
  return { parent, last: parts.at(-1) ?? "" };
}

function put(holder: { root: unknown }, pointer: string, value: unknown, insert: boolean): void {
  const { parent, last } = locate(holder, pointer);
  if (!Array.isArray(parent)) parent[last] = value;
  else if (last === "-") parent.push(value);
  else if (insert) parent.splice(Number(last), 0, value);
  else parent[Number(last)] = value;
}

function take(holder: { root: unknown }, pointer: string, remove: boolean): unknown {
  const { parent, last } = locate(holder, pointer);
  if (Array.isArray(parent)) {
    const index = Number(last);
    if (!(index < parent.length)) return refuse(`"${pointer}" is not there`);
    return remove ? parent.splice(index, 1)[0] : parent[index];
  }
  if (!(last in parent)) return refuse(`"${pointer}" is not there`);
  const value = parent[last];
  if (remove) delete parent[last];
  return value;
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
