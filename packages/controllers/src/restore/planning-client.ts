/**
 * A client that changes nothing. What a restore would create is tried with the API server (a dry run: validation, quotas, webhooks), and remembered here, so that what comes after it
 * finds it; everything else is read from the cluster.
 *
 * Not tried, only remembered: what would go into a namespace that is itself only planned, what the restore's own machinery needs in the installation's namespace, and objects that the
 * API server refuses for want of permission (of the user who plans, or because what they name is only planned, as the account of a pod).
 */
import { DrayError, formatTime, hasCode, messageOf } from "@drayage/base";
import {
  type ConfigMap,
  configMaps,
  type DiscoveredResource,
  type Discovery,
  formatKey,
  type GenericObject,
  groupResourceOf,
  type KubeClient,
  type KubeObject,
  keyOf,
  type ObjectKey,
  type PatchType,
  type ResourceType,
  type ServiceAccount,
  serviceAccounts,
  type WriteOptions,
} from "@drayage/kube";
import { CUSTOM_RESOURCE_DEFINITIONS, NAMESPACES } from "../actions/item-id.ts";

export interface PlanningClientOptions {
  readonly client: KubeClient;
  /** Of the installation. */
  readonly namespace: string;
  readonly nowMs: number;
}

/** What the API server said to something that it did not let pass, and that may pass once the rest is there. */
export interface Doubt {
  readonly kind: string;
  readonly name: string;
  readonly message: string;
}

export class PlanningClient implements KubeClient {
  readonly doubts: Doubt[] = [];
  readonly #client: KubeClient;
  readonly #namespace: string;
  readonly #nowMs: number;
  readonly #planned = new Map<string, GenericObject>();
  #count = 0;

  constructor({ client, namespace, nowMs }: PlanningClientOptions) {
    this.#client = client;
    this.#namespace = namespace;
    this.#nowMs = nowMs;
  }

  /** What would be created of a kind. */
  planned<T extends KubeObject>(type: ResourceType<T>): readonly T[] {
    const prefix = `${groupResourceOf(type)} `;
    return [...this.#planned].filter(([key]) => key.startsWith(prefix)).map(([, object]) => object as unknown as T);
  }

  /** Puts an object there as if it had been created. */
  assume<T extends KubeObject>(type: ResourceType<T>, object: T): void {
    this.#planned.set(planKey(type, keyOf(object)), object as unknown as GenericObject);
  }

  async find<T extends KubeObject>(type: ResourceType<T>, key: ObjectKey, signal?: AbortSignal): Promise<T | undefined> {
    const planned = this.#planned.get(planKey(type, key));
    return planned === undefined ? this.#client.find(type, key, signal) : (structuredClone(planned) as unknown as T);
  }

  async get<T extends KubeObject>(type: ResourceType<T>, key: ObjectKey, signal?: AbortSignal): Promise<T> {
    return (await this.find(type, key, signal)) ?? this.#client.get(type, key, signal);
  }

  async create<T extends KubeObject>(type: ResourceType<T>, object: T, options: WriteOptions = {}): Promise<T> {
    const named = this.#named(object);
    const key = keyOf(named);
    if (this.#planned.has(planKey(type, key))) {
      throw new DrayError("KUBE_ALREADY_EXISTS", `Cannot create ${type.kind} "${formatKey(key)}": the plan has one already`);
    }
    const created = this.#canBeTried(type, key) ? await this.#try(type, named, options) : named;
    this.assume(type, established(type, created));
    if (groupResourceOf(type) === NAMESPACES) await this.#assumeFurnishings(key.name, options.signal);
    return structuredClone(created);
  }

  /** Of what is planned nothing is changed: it is looked at only for what it is. */
  async patch<T extends KubeObject>(type: ResourceType<T>, key: ObjectKey, patchType: PatchType, patch: unknown, options: WriteOptions = {}): Promise<T> {
    const planned = this.#planned.get(planKey(type, key));
    if (planned !== undefined) return structuredClone(planned) as unknown as T;
    return this.#client.patch(type, key, patchType, patch, { ...options, dryRun: true });
  }

  async replace<T extends KubeObject>(type: ResourceType<T>, object: T, options: WriteOptions = {}): Promise<T> {
    if (this.#planned.has(planKey(type, keyOf(object)))) return object;
    return this.#client.replace(type, object, { ...options, dryRun: true });
  }

  async replaceStatus<T extends KubeObject>(_type: ResourceType<T>, object: T): Promise<T> {
    return object;
  }

  async patchStatus<T extends KubeObject>(type: ResourceType<T>, key: ObjectKey): Promise<T> {
    return this.get(type, key);
  }

  async apply<T extends KubeObject>(
    type: ResourceType<T>,
    object: T,
    options: WriteOptions & { readonly fieldManager: string; readonly force?: boolean },
  ): Promise<T> {
    return this.#client.apply(type, object, { ...options, dryRun: true });
  }

  async delete(): Promise<boolean> {
    return false;
  }

  async deleteCollection(): Promise<void> {
    // There is nothing of ours in the cluster.
  }

  list: KubeClient["list"] = (type, options) => this.#client.list(type, options);
  listAll: KubeClient["listAll"] = (type, options) => this.#client.listAll(type, options);
  watch: KubeClient["watch"] = (type, options) => this.#client.watch(type, options);
  podLog: KubeClient["podLog"] = (key, options) => this.#client.podLog(key, options);

  async request<R>(method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE", path: string, options?: Parameters<KubeClient["request"]>[2]): Promise<R> {
    if (method !== "GET") throw new DrayError("NOT_SUPPORTED", `Cannot ${method} ${path}: a plan changes nothing`);
    return this.#client.request<R>(method, path, options);
  }

  async podExec(): Promise<never> {
    throw new DrayError("NOT_SUPPORTED", "Cannot run a command in a pod: a plan changes nothing");
  }

  /** The client below is its owner's to close. */
  async close(): Promise<void> {
    return undefined;
  }

  /** What controllers of the cluster put into every namespace, sooner than a restore comes to it. */
  async #assumeFurnishings(namespace: string, signal: AbortSignal | undefined): Promise<void> {
    this.assume<ServiceAccount>(serviceAccounts, { apiVersion: "v1", kind: "ServiceAccount", metadata: { namespace, name: "default" } });
    const authority = await this.#client.find(configMaps, { namespace: "default", name: "kube-root-ca.crt" }, signal);
    if (authority === undefined) return;
    const { name = "", annotations = {} } = authority.metadata;
    this.assume<ConfigMap>(configMaps, { ...authority, metadata: { namespace, name, annotations } });
  }

  #named<T extends KubeObject>(object: T): T {
    const { name, generateName } = object.metadata;
    const metadata = { ...object.metadata, name: name ?? `${generateName ?? ""}plan-${++this.#count}`, creationTimestamp: formatTime(this.#nowMs) };
    return { ...structuredClone(object), metadata };
  }

  #canBeTried(type: Pick<ResourceType, "group">, { namespace }: ObjectKey): boolean {
    if (type.group === "velero.io" || namespace === this.#namespace) return false;
    return namespace === undefined || !this.#planned.has(`${NAMESPACES} ${namespace}`);
  }

  async #try<T extends KubeObject>(type: ResourceType<T>, object: T, options: WriteOptions): Promise<T> {
    try {
      const { creationTimestamp: _, ...metadata } = object.metadata;
      return await this.#client.create(type, { ...object, metadata }, { ...options, dryRun: true });
    } catch (error) {
      if (!hasCode(error, "KUBE_FORBIDDEN") && !hasCode(error, "KUBE_NOT_FOUND")) throw error;
      const key = keyOf(object);
      if ((await this.#client.find(type, key, options.signal)) !== undefined) {
        throw new DrayError("KUBE_ALREADY_EXISTS", `Cannot create ${type.kind} "${formatKey(key)}": it is there`, { cause: error });
      }
      this.doubts.push({ kind: type.kind, name: formatKey(key), message: messageOf(error) });
      return object;
    }
  }
}

/** Discovery with the kinds that planned definitions define. */
export function planningDiscovery(discovery: Discovery, client: PlanningClient): Discovery {
  const planned = async (signal?: AbortSignal): Promise<DiscoveredResource[]> => {
    const definitions = await discovery.find(CUSTOM_RESOURCE_DEFINITIONS, signal);
    return definitions === undefined ? [] : client.planned<GenericObject>(definitions as unknown as ResourceType<GenericObject>).flatMap(servedBy);
  };
  const isNamed = (resource: DiscoveredResource, name: string): boolean =>
    [resource.plural, resource.singular, resource.kind.toLowerCase(), groupResourceOf(resource)].includes(name.toLowerCase());
  return {
    all: async (signal) => [...(await discovery.all(signal)), ...(await planned(signal))],
    unavailable: (signal) => discovery.unavailable(signal),
    find: async (name, signal) => (await discovery.find(name, signal)) ?? (await planned(signal)).find((resource) => isNamed(resource, name)),
    forKind: async (apiVersion, kind, signal) =>
      (await discovery.forKind(apiVersion, kind, signal)) ??
      (await planned(signal)).find((resource) => resource.kind === kind && `${resource.group}/${resource.version}` === apiVersion),
    serverVersion: (signal) => discovery.serverVersion(signal),
    invalidate: () => undefined,
  };
}

interface Definition {
  readonly spec?: {
    readonly group?: string;
    readonly scope?: string;
    readonly names?: { readonly plural?: string; readonly kind?: string; readonly singular?: string; readonly shortNames?: readonly string[] };
    readonly versions?: readonly { readonly name: string; readonly served?: boolean; readonly storage?: boolean }[];
  };
}

function servedBy(object: GenericObject): DiscoveredResource[] {
  const { group = "", scope, names, versions = [] } = (object as Definition).spec ?? {};
  const { plural = "", kind = "", singular = kind.toLowerCase(), shortNames = [] } = names ?? {};
  return versions
    .filter(({ served }) => served !== false)
    .map(({ name, storage }) => ({
      group,
      version: name,
      plural,
      kind,
      namespaced: scope !== "Cluster",
      verbs: ["create", "get", "list", "patch", "update"],
      shortNames,
      singular,
      categories: [],
      preferred: storage === true,
    }));
}

/** Nobody establishes a definition that is only planned. */
function established<T extends KubeObject>(type: ResourceType<T>, object: T): T {
  if (groupResourceOf(type) !== CUSTOM_RESOURCE_DEFINITIONS) return object;
  return { ...object, status: { conditions: [{ type: "Established", status: "True" }] } };
}

function planKey(type: Pick<ResourceType, "group" | "plural">, key: ObjectKey): string {
  return `${groupResourceOf(type)} ${formatKey(key)}`;
}
