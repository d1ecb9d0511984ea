import type { GenericObject } from "@drayage/kube";
import type { ItemSpool } from "../backup/item-spool.ts";

/** A spool without a disk, for tests under a virtual clock. */
export async function createMemorySpool(): Promise<ItemSpool> {
  const objects: GenericObject[] = [];
  return {
    add: async (object) => ({ offset: objects.push(structuredClone(object)) - 1, lengthBytes: 0 }),
    read: async ({ offset }) => structuredClone(objects[offset] ?? { metadata: {} }),
    dispose: async () => void objects.splice(0),
  };
}
