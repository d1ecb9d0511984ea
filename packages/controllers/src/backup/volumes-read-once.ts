/** What a backup knows of volumes: the choice of how a claim is backed up, its snapshot, its record and the item itself each look at the same one, and at the same few classes. */
import { groupResourceOf, type KubeClient, type KubeObject, type ObjectKey, persistentVolumes, type ResourceType, storageClasses } from "@drayage/kube";

/** Beyond this many nothing is remembered of the earlier ones. */
const OBJECTS_MAX = 1_000;
const READ_ONCE: ReadonlySet<string> = new Set([persistentVolumes, storageClasses].map(groupResourceOf));

/** A client that asks for each PersistentVolume and StorageClass once, and answers with what it was then from there on. One that is not there is asked for again. */
export function readingVolumesOnce(client: KubeClient): KubeClient {
  const read = new Map<string, Promise<KubeObject | undefined>>();
  const once = async <T extends KubeObject>(type: ResourceType<T>, { name }: ObjectKey, ask: () => Promise<T | undefined>): Promise<T | undefined> => {
    const id = `${groupResourceOf(type)} ${name}`;
    if (read.size >= OBJECTS_MAX) read.clear();
    const asked = read.get(id) ?? ask();
    read.set(id, asked);
    const forget = (): void => {
      if (read.get(id) === asked) read.delete(id);
    };
    try {
      const found = await asked;
      if (found === undefined) forget();
      // Whoever is given it may do with it what it likes.
      return found === undefined ? undefined : (structuredClone(found) as T);
    } catch (error) {
      forget();
      throw error;
    }
  };
  const isReadOnce = (type: Pick<ResourceType, "group" | "plural">): boolean => READ_ONCE.has(groupResourceOf(type));
  const remembering: Pick<KubeClient, "get" | "find"> = {
    get: async (type, key, signal) =>
      (isReadOnce(type) ? await once(type, key, () => client.find(type, key, signal)) : undefined) ?? client.get(type, key, signal),
    find: (type, key, signal) => (isReadOnce(type) ? once(type, key, () => client.find(type, key, signal)) : client.find(type, key, signal)),
  };
  return new Proxy(client, {
    get: (target, property) => {
      const from = property in remembering ? remembering : target;
      const value: unknown = Reflect.get(from, property);
      return typeof value === "function" ? value.bind(from) : value;
    },
  });
}
