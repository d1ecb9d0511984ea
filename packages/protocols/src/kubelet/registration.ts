/**
 * How a plug-in makes itself known to a kubelet. The kubelet watches a folder (`plugins_registry` in its own); to every socket that appears there it says `GetInfo`, then it
 * tries the plug-in at the endpoint that it was told of, and says with `NotifyRegistrationStatus` how that went. A socket that goes takes the plug-in off the node.
 * A kubelet that was restarted finds the sockets that are there and asks each again. Definition: k8s.io/kubelet, pkg/apis/pluginregistration/v1.
 */
import { readFileSync } from "node:fs";
import { DrayError } from "@drayage/base";
import { type GrpcObject, loadPackageDefinition, type ServiceDefinition } from "@grpc/grpc-js";
import { fromJSON } from "@grpc/proto-loader";
import { type SocketServer, serveSocket } from "../csi/serve-socket.ts";

/** What the kubelet is told of a plug-in. */
export interface PluginInfo {
  readonly type: "CSIPlugin";
  /** The driver's name, as StorageClasses give it. */
  readonly name: string;
  /** The socket on which the plug-in itself listens, as the kubelet finds it. */
  readonly endpoint: string;
  readonly supportedVersions: readonly string[];
}

/** How registering went; `error` is empty when it went well. */
export interface RegistrationStatus {
  readonly pluginRegistered: boolean;
  readonly error: string;
}

/**
 * Offers a plug-in to the kubelet that watches the folder of `socketPath` and tells how each of its tries went. Ending the server takes the plug-in off the node.
 * Throws NOT_PERMITTED when another process listens there.
 */
export async function serveRegistration(socketPath: string, info: PluginInfo, onStatus: (status: RegistrationStatus) => void): Promise<SocketServer> {
  const implementation = {
    GetInfo: async (): Promise<PluginInfo> => info,
    NotifyRegistrationStatus: async (status: RegistrationStatus): Promise<object> => {
      onStatus(status);
      return {};
    },
  };
  return await serveSocket(socketPath, [{ definition: registrationService(), implementation }], (_method, _request, work) => work());
}

let loaded: ServiceDefinition | undefined;

/** The definition of the service, made from the data in `data/registration.json` on first use and kept. */
export function registrationService(): ServiceDefinition {
  loaded ??= load();
  return loaded;
}

function load(): ServiceDefinition {
  const data = JSON.parse(readFileSync(new URL("./data/registration.json", import.meta.url), "utf8")) as Parameters<typeof fromJSON>[0];
  const service = (loadPackageDefinition(fromJSON(data, { defaults: true }))["pluginregistration"] as GrpcObject)["Registration"];
  if (typeof service !== "function") throw new DrayError("INVARIANT", 'Cannot load service "Registration": the data do not define it');
  return service.service;
}
