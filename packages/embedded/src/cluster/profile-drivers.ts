/** The drivers of a cluster that behave as a particular storage: where they keep it, and what they may read of the API. */
import { join } from "node:path";
import { fromUtf8 } from "@drayage/base";
import { configMaps, type KubeClient, persistentVolumes, secrets } from "@drayage/kube";
import { type CsiProfile, driverNameOf, type StartCsiDriverOptions, type TenantReader } from "../csi-driver/index.ts";
import type { ClusterDirectory } from "./cluster-directory.ts";

export function profileDriver(
  directory: ClusterDirectory,
  profile: CsiProfile,
): Pick<StartCsiDriverOptions, "driverName" | "stateDirectory" | "profile"> & { readonly driverName: string } {
  return { driverName: driverNameOf(profile), stateDirectory: join(directory.storage, profile), profile };
}

export function tenantReader(client: KubeClient): TenantReader {
  return {
    secret: async (namespace, name) => {
      const found = await client.find(secrets, { namespace, name });
      const data = Object.entries(found?.data ?? {}).map(([key, value]) => [key, fromUtf8(Buffer.from(value, "base64"))] as const);
      return found === undefined ? undefined : Object.fromEntries(data);
    },
    hasConfigMap: async (namespace, name) => (await client.find(configMaps, { namespace, name })) !== undefined,
    tenantOf: async (volumeId) => {
      for await (const { spec } of client.listAll(persistentVolumes)) if (spec.csi?.volumeHandle === volumeId) return spec.claimRef?.namespace;
      return undefined;
    },
  };
}
