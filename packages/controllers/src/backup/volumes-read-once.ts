/** What a backup knows of volumes: the choice of how a claim is backed up, its snapshot, its record and the item itself each look at the same one. */
import { groupResourceOf, type KubeClient, type KubeObject, type ObjectKey, type PersistentVolume, persistentVolumes, type ResourceType } from "@drayage/kube";

/** Beyond this many nothing is remembered of the earlier ones. */
const VOLUMES_MAX = 1_000;

/** A client that asks for each PersistentVolume once, and answers with what it was then from there on. One that is not there is asked for again. */
export function readingVolumesOnce(client: KubeClient): KubeClient {
  const read = new Map<string, PersistentVolume>();
  const isVolume = (type: Pick<ResourceType, "group" | "plural">): boolean => groupResourceOf(type) === groupResourceOf(persistentVolumes);
  const note = <T extends KubeObject | undefined>(type: Pick<ResourceType, "group" | "plural">, key: ObjectKey, found: T): T => {
    if (found === undefined || !isVolume(type)) return found;
    if (read.size >= VOLUMES_MAX) read.clear();
    // Whoever is given it may do with it what it likes.
    read.set(key.name, structuredClone(found) as unknown as PersistentVolume);
    return found;
  };
  const known = <T extends KubeObject>(type: ResourceType<T>, { name }: ObjectKey): T | undefined =>
    isVolume(type) && read.has(name) ? (structuredClone(read.get(name)) as unknown as T) : undefined;
  const remembering: Pick<KubeClient, "get" | "find"> = {
    get: async (type, key, signal) => known(type, key) ?? note(type, key, await client.get(type, key, signal)),
    find: async (type, key, signal) => known(type, key) ?? note(type, key, await client.find(type, key, signal)),
  };
  return new Proxy(client, {
    get: (target, property) => {
      const from = property in remembering ? remembering : target;
      const value: unknown = Reflect.get(from, property);
      return typeof value === "function" ? value.bind(from) : value;
    },
  });
}
