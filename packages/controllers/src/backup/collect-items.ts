/** Finds what a backup is about: lists every resource that its spec lets through, and puts the objects aside for the backup proper. */
import type { BackupSpec } from "@drayage/api";
import { errorFields, hasCode, isAbort, type Logger } from "@drayage/base";
import {
  type DiscoveredResource,
  type Discovery,
  type GenericObject,
  groupResourceOf,
  type KubeClient,
  listPages,
  type Namespace,
  namespaces,
} from "@drayage/kube";
import { type ItemId, itemIdOf, itemKey, NAMESPACES } from "../actions/item-id.ts";
import { allOf } from "../all-of.ts";
import type { LabelFilter } from "../resource-selection/label-filter.ts";
import { NameFilter } from "../resource-selection/name-filter.ts";
import type { ResourceFilter } from "../resource-selection/resource-filter.ts";
import type { ItemSpool, SpooledItem } from "./item-spool.ts";

export interface CollectedItem {
  readonly id: ItemId;
  readonly resource: DiscoveredResource;
  readonly spooled: SpooledItem;
  /** Named in spec.orderedResources: stays in one block with its neighbours in that order. */
  readonly ordered: boolean;
}

export interface BackupSelection {
  readonly namespaces: NameFilter;
  readonly resources: ResourceFilter;
  readonly labels: LabelFilter;
}

export interface CollectOptions {
  readonly client: KubeClient;
  readonly discovery: Discovery;
  readonly spec: BackupSpec;
  readonly selection: BackupSelection;
  /** The namespaces of the cluster, as they were when the globs were resolved. */
  readonly clusterNamespaces: readonly Namespace[];
  readonly spool: ItemSpool;
  readonly log: Logger;
  readonly signal: AbortSignal;
}

/** Resources that two API groups serve; the objects are the same, so the first one met counts. */
const COHABITING: readonly { readonly plural: string; readonly groups: readonly string[] }[] = [
  { plural: "deployments", groups: ["extensions", "apps"] },
  { plural: "daemonsets", groups: ["extensions", "apps"] },
  { plural: "replicasets", groups: ["extensions", "apps"] },
  { plural: "networkpolicies", groups: ["extensions", "networking.k8s.io"] },
  { plural: "events", groups: ["", "events.k8s.io"] },
];

/** Pods first, so that their hooks run around what is snapshot with them; then claims, then volumes. */
const CORE_FIRST = ["pods", "persistentvolumeclaims", "persistentvolumes"];

/**
 * Objects of one answer. A page of this size is mostly dead by the time the heap's young part is looked through; those of the API server's own tools (500) are moved out of it, and the memory
 * of a backup is 6 MiB more. The next page is on its way meanwhile.
 */
const PAGE_SIZE = 100;

const WANTED_VERBS = ["list", "create", "get", "delete"];

export function loadNamespaces(client: KubeClient, signal: AbortSignal): Promise<Namespace[]> {
  return allOf(client.listAll(namespaces, { signal }));
}

/**
 * The filter of a spec's namespaces. Globs are resolved against the namespaces there are now, so that every later question gives the same answer;
 * a lone `*` stays what it is, since one listing over all namespaces is cheaper than many.
 */
export function namespaceFilterOf(spec: BackupSpec, existing: readonly string[]): NameFilter {
  const [includes, excludes] = [spec.includedNamespaces ?? [], spec.excludedNamespaces ?? []];
  const filter = new NameFilter(includes, excludes);
  if (includes.length === 0 || includes.includes("*")) return filter;
  const named = includes.filter((name) => !/[*?[]/.test(name) && !filter.isExcluded(name));
  const matched = existing.filter((name) => filter.has(name));
  const resolved = [...new Set([...named, ...matched])];
  // An empty list would mean everything.
  return resolved.length === 0 ? NameFilter.nothing : new NameFilter(resolved, []);
}

/** Every item, in the order in which it is backed up. A resource that cannot be listed is logged as an error and left out. */
export async function collectItems(options: CollectOptions): Promise<CollectedItem[]> {
  const { spec, log, signal } = options;
  const collected: CollectedItem[] = [];
  const withItems = new Set<string>();
  for (const group of await options.discovery.unavailable(signal)) {
    log.warn(`API group "${group}" does not answer: what only it serves is not in the backup`);
  }
  let items = new Map<string, CollectedItem>();
  const resources = wantedResources(await options.discovery.all(signal), options);
  for await (const { resource, log: resourceLog, objects } of readAhead(listed(options, resources))) {
    if (objects !== undefined) {
      await putAside(options, resource, objects, items);
      continue;
    }
    const name = groupResourceOf(resource);
    const found = name === NAMESPACES ? await collectNamespaces(options, resource) : [...items.values()];
    items = new Map();
    resourceLog.info(`Retrieved ${found.length} items`);
    for (const { id } of found) if (id.namespace !== undefined) withItems.add(id.namespace);
    collected.push(...inWantedOrder(found, spec.orderedResources?.[resource.plural] ?? spec.orderedResources?.[name], resourceLog));
  }
  // A namespace comes along when it is asked for, or when something in it does.
  return collected.filter(({ id }) => id.groupResource !== NAMESPACES || withItems.has(id.name) || namespaceIsWanted(options, id.name));
}

function inBackupOrder(resources: readonly DiscoveredResource[]): DiscoveredResource[] {
  const usable = resources.filter(({ verbs, preferred }) => preferred && WANTED_VERBS.every((verb) => verbs.includes(verb)));
  const rank = ({ group, plural }: DiscoveredResource): number => {
    if (group !== "") return CORE_FIRST.length + 1;
    const at = CORE_FIRST.indexOf(plural);
    return at < 0 ? CORE_FIRST.length : at;
  };
  return usable
    .map((resource, index) => ({ resource, index }))
    .sort((a, b) => rank(a.resource) - rank(b.resource) || a.index - b.index)
    .map(({ resource }) => resource);
}

/** The resources that are listed, in that order. */
function wantedResources(served: readonly DiscoveredResource[], { selection, log }: CollectOptions): DiscoveredResource[] {
  const seen = new Set<string>();
  return inBackupOrder(served).filter((resource) => {
    if (!selection.resources.has(resource)) {
      log.debug("Skipping resource because it is excluded", { resource: groupResourceOf(resource) });
      return false;
    }
    const cohabiting = COHABITING.find(({ plural, groups }) => plural === resource.plural && groups.includes(resource.group));
    if (cohabiting === undefined) return true;
    const isFirst = !seen.has(cohabiting.plural);
    seen.add(cohabiting.plural);
    return isFirst;
  });
}

/** What was listed of a resource; without objects: that was all of it. */
interface Listed {
  readonly resource: DiscoveredResource;
  readonly log: Logger;
  readonly objects: readonly GenericObject[] | undefined;
}

async function* listed(options: CollectOptions, resources: readonly DiscoveredResource[]): AsyncGenerator<Listed, void, undefined> {
  const { client, selection, signal } = options;
  for (const resource of resources) {
    const log = options.log.child({ resource: groupResourceOf(resource) });
    const places = groupResourceOf(resource) === NAMESPACES ? [] : resource.namespaced ? placesOf(selection.namespaces) : [undefined];
    for (const namespace of places) {
      try {
        for (const labelSelector of selection.labels.listSelectors) {
          const where = { ...(namespace === undefined ? {} : { namespace }), labelSelector: labelSelector === "" ? undefined : labelSelector };
          for await (const objects of listPages(client, resource, { ...where, signal }, PAGE_SIZE)) yield { resource, log, objects };
        }
      } catch (error) {
        if (isAbort(error, signal)) throw error;
        // A resource whose definition has just been deleted has no objects any more.
        if (hasCode(error, "KUBE_NOT_FOUND") && !isBuiltIn(resource)) continue;
        log.error("Error listing items", { ...errorFields(error), context: undefined, ...(namespace === undefined ? {} : { namespace }) });
      }
    }
    yield { resource, log, objects: undefined };
  }
}

/** Lets the API server make the next answer ready while this program puts the one before aside. One answer more is in memory by that. */
async function* readAhead<T>(source: AsyncGenerator<T, void, undefined>): AsyncGenerator<T, void, undefined> {
  for (let next = source.next(); ; ) {
    const { value, done } = await next;
    if (done === true) return;
    next = source.next();
    // Who takes this one may fail before it looks at the next one.
    next.catch(() => undefined);
    yield value;
  }
}

async function putAside(
  { selection, spool }: CollectOptions,
  resource: DiscoveredResource,
  objects: readonly GenericObject[],
  items: Map<string, CollectedItem>,
): Promise<void> {
  for (const object of objects) {
    const id = itemIdOf(resource, object);
    if (id.namespace !== undefined && !selection.namespaces.has(id.namespace)) continue;
    const key = itemKey(id);
    if (!items.has(key)) items.set(key, { id, resource, spooled: await spool.add(object), ordered: false });
  }
}

/** Where to list: in all namespaces at once, or in each of those that are named. */
function placesOf(namespaces: NameFilter): readonly (string | undefined)[] {
  if (namespaces.isNothing) return [];
  return namespaces.includes.length === 0 || namespaces.includes.includes("*") ? [undefined] : namespaces.includes;
}

function isBuiltIn(resource: DiscoveredResource): boolean {
  return !resource.group.includes(".");
}

async function collectNamespaces(options: CollectOptions, resource: DiscoveredResource): Promise<CollectedItem[]> {
  const { clusterNamespaces, selection, spool, log } = options;
  const existing = new Set(clusterNamespaces.map(({ metadata }) => metadata.name));
  for (const name of selection.namespaces.includes) {
    if (name !== "*" && !existing.has(name))
      log.error(`Cannot back up namespace "${name}" of spec.includedNamespaces: it does not exist`, { resource: NAMESPACES });
  }
  const items: CollectedItem[] = [];
  for (const namespace of clusterNamespaces) {
    const object = namespace as unknown as GenericObject;
    items.push({ id: itemIdOf(resource, object), resource, spooled: await spool.add(object), ordered: false });
  }
  return items;
}

function namespaceIsWanted({ selection, clusterNamespaces }: CollectOptions, name: string): boolean {
  const namespace = clusterNamespaces.find(({ metadata }) => metadata.name === name);
  if (namespace === undefined || namespace.status?.phase === "Terminating") return false;
  if (!selection.labels.isOpen && selection.labels.has(namespace.metadata.labels)) return true;
  // With a selector and no named namespaces, only those that fit it, or hold something that does.
  if (!selection.labels.isOpen && selection.namespaces.hasEverything) return false;
  return selection.namespaces.has(name);
}

/** Items in the order that the spec names (`ns/a,ns/b`), then the others as they came. */
function inWantedOrder(items: readonly CollectedItem[], order: string | undefined, log: Logger): CollectedItem[] {
  if (order === undefined || order.trim() === "") return [...items];
  const byName = new Map(items.map((item) => [item.id.namespace === undefined ? item.id.name : `${item.id.namespace}/${item.id.name}`, item]));
  const first: CollectedItem[] = [];
  for (const name of order.split(",").map((part) => part.trim())) {
    const item = byName.get(name);
    if (item === undefined) {
      log.warn(`Cannot find "${name}", which spec.orderedResources names`);
      continue;
    }
    byName.delete(name);
    first.push({ ...item, ordered: true });
  }
  return [...first, ...byName.values()];
}
