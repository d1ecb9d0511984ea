/**
 * Secrets and ConfigMaps that a storage looks for where the claim is: those of an encrypted volume lie in the application's namespace, and the claim of a mover is in ours. The node-agent's
 * ConfigMap names them (`secretNames`, `configMapNames` of backupPVC and restorePVC; velero.md 4.1, step 3).
 *
 * Invariants:
 * - A copy carries the label of the first movement that needed it, and an owner reference of each that needs it now: it goes with the last of them, whatever becomes of the node-agent.
 * - A copy is never changed. Where another namespace has an object of the same name and other content, its movements wait until the copy is gone.
 * - What somebody else has put there under that name is used when it is the same, and never removed.
 */
import { isDeepStrictEqual } from "node:util";
import { LABELS, validLabelValue } from "@drayage/api";
import { hasCode } from "@drayage/base";
import { configMaps, groupResourceOf, isDeleting, type KubeObject, type OwnerReference, type ResourceType, secrets } from "@drayage/kube";
import type { NodeAgentConfig, TenantObjectNames } from "../data-movement/node-agent-config.ts";
import { act, failed, type Work, wait } from "../data-movement/work.ts";
import type { ExposerDeps } from "./exposer-deps.ts";

export interface CopyRequest extends TenantObjectNames {
  /** Where the originals are. */
  readonly from: string;
  /** The movement that needs them. */
  readonly owner: KubeObject;
  readonly ownerType: ResourceType<KubeObject>;
  /** What names them, for messages: `backupPVC["rbd"]`. */
  readonly namedBy: string;
  /** What becomes of an original that is not there: an error, waited for, or done without. */
  readonly missing: "failed" | "awaited" | "skipped";
}

/** Content of either kind. */
type Copied = KubeObject & { readonly type?: string; readonly data?: unknown; readonly binaryData?: unknown };

const KINDS = [secrets, configMaps] as unknown as readonly ResourceType<Copied>[];

/** The next copy to make; undefined once all are there. */
export async function tenantCopies(deps: ExposerDeps, request: CopyRequest): Promise<Work | undefined> {
  const names: readonly (readonly string[])[] = [request.secretNames ?? [], request.configMapNames ?? []];
  for (const [index, type] of KINDS.entries()) {
    for (const name of names[index] ?? []) {
      const work = await tenantCopy(deps, request, type, name);
      if (work !== undefined) return work;
    }
  }
  return undefined;
}

async function tenantCopy(deps: ExposerDeps, request: CopyRequest, type: ResourceType<Copied>, name: string): Promise<Work | undefined> {
  const { client, namespace } = deps;
  const what = `${groupResourceOf(type)} "${request.from}/${name}"`;
  let original: Copied | undefined;
  try {
    original = await client.find(type, { namespace: request.from, name });
  } catch (error) {
    if (!hasCode(error, "KUBE_FORBIDDEN")) throw error;
    return failed(
      `${request.namedBy} names ${what}, which the node-agent may not read: give its service account a ClusterRole with get on ${groupResourceOf(type)} of that name`,
    );
  }
  if (original === undefined) {
    if (request.missing === "skipped") return undefined;
    return request.missing === "awaited" ? wait(`${what} to be restored`) : failed(`${request.namedBy} names ${what}, which is not there`);
  }
  const key = { namespace, name };
  const copy = await client.find(type, key);
  const reference = referenceTo(request);
  if (copy === undefined) {
    const wanted: Copied = {
      metadata: { name, namespace, labels: { [LABELS.backupPvcSecret]: validLabelValue(request.owner.metadata.uid ?? "") }, ownerReferences: [reference] },
      ...contentOf(original),
    };
    return act(`copy ${what}`, () => client.create(type, wanted));
  }
  const isSame = isDeepStrictEqual(contentOf(copy), contentOf(original));
  if (copy.metadata.labels?.[LABELS.backupPvcSecret] === undefined) {
    if (isSame) return undefined;
    return failed(`${request.namedBy} names ${what}, and "${namespace}/${name}" is there already with other content: it has to be removed`);
  }
  if (isDeleting(copy)) return wait(`the copy "${namespace}/${name}" of an earlier movement to be gone`);
  if (!isSame) return wait(`the copy "${namespace}/${name}" to be given up by movements of another namespace, whose content is another`);
  const owners = copy.metadata.ownerReferences ?? [];
  if (owners.some(({ uid }) => uid === reference.uid)) return undefined;
  // Fails when somebody else has changed the copy meanwhile, such as its last owner, who has deleted it.
  return act(`share the copy "${namespace}/${name}"`, () =>
    client.replace(type, { ...copy, metadata: { ...copy.metadata, ownerReferences: [...owners, reference] } }),
  );
}

/** Whether a node-agent that is configured like this makes copies at all. */
export function makesCopies({ backupPVC = {}, restorePVC = {} }: NodeAgentConfig): boolean {
  return [...Object.values(backupPVC), restorePVC].some(({ secretNames = [], configMapNames = [] }) => secretNames.length + configMapNames.length > 0);
}

/** Gives up the copies of a movement, and takes away those that no other one needs; undefined once there are none. */
export async function tenantCopiesRemoval(deps: ExposerDeps, owner: KubeObject): Promise<Work | undefined> {
  const { client, namespace } = deps;
  for (const type of KINDS) {
    for await (const copy of client.listAll(type, { namespace, labelSelector: LABELS.backupPvcSecret })) {
      const owners = copy.metadata.ownerReferences ?? [];
      const others = owners.filter(({ uid }) => uid !== owner.metadata.uid);
      if (others.length === owners.length || isDeleting(copy)) continue;
      const { name = "", uid, resourceVersion } = copy.metadata;
      const what = `the copy of ${groupResourceOf(type)} "${name}"`;
      if (others.length > 0) return act(`give up ${what}`, () => client.replace(type, { ...copy, metadata: { ...copy.metadata, ownerReferences: others } }));
      // A movement that has joined it since must not lose it.
      const preconditions = { ...(uid === undefined ? {} : { uid }), ...(resourceVersion === undefined ? {} : { resourceVersion }) };
      return act(`delete ${what}`, () => client.delete(type, { namespace, name }, { preconditions }));
    }
  }
  return undefined;
}

function contentOf({ type, data, binaryData }: Copied): Pick<Copied, "type" | "data" | "binaryData"> {
  return { ...(type === undefined ? {} : { type }), ...(data === undefined ? {} : { data }), ...(binaryData === undefined ? {} : { binaryData }) };
}

/** Not the controller's: several movements may own one copy. */
function referenceTo({ owner, ownerType }: CopyRequest): OwnerReference {
  const { group, version, kind } = ownerType;
  return { apiVersion: group === "" ? version : `${group}/${version}`, kind, name: owner.metadata.name ?? "", uid: owner.metadata.uid ?? "" };
}
