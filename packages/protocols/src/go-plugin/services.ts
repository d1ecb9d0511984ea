/** Velero's plug-in services, and the two of go-plugin's own that every plug-in has: their definitions for gRPC, made from data/velero-plugins.json on first use and kept. */
import { readFileSync } from "node:fs";
import { DrayError } from "@drayage/base";
import { type GrpcObject, loadPackageDefinition, type ServiceDefinition } from "@grpc/grpc-js";
import { fromJSON } from "@grpc/proto-loader";

/** Where each service is in the definitions. Kinds of plug-ins have Velero's names. */
const SERVICES = {
  PluginLister: "generated.PluginLister",
  ObjectStore: "generated.ObjectStore",
  BackupItemAction: "generated.BackupItemAction",
  BackupItemActionV2: "v2.BackupItemAction",
  RestoreItemAction: "generated.RestoreItemAction",
  RestoreItemActionV2: "v2.RestoreItemAction",
  DeleteItemAction: "generated.DeleteItemAction",
  ItemBlockAction: "v1.ItemBlockAction",
  Controller: "plugin.GRPCController",
  Health: "grpc.health.v1.Health",
} as const;

export type PluginServiceName = keyof typeof SERVICES;

/** How a plug-in and its host know each other, before the first byte of gRPC (go-plugin's handshake; pkg/plugin/framework/handshake.go of Velero). */
export const HANDSHAKE = {
  cookieName: "VELERO_PLUGIN",
  cookieValue: "hello",
  /** Of go-plugin itself. */
  coreVersion: 1,
  /** Of Velero's plug-ins. */
  protocolVersion: 2,
  transport: "grpc",
  /** The name that a plug-in's health is asked by. */
  healthService: "plugin",
} as const;

let loaded: Readonly<Record<PluginServiceName, ServiceDefinition>> | undefined;

/** Messages come with every field, 64-bit integers as text, names as they are on the wire. */
export function pluginServices(): Readonly<Record<PluginServiceName, ServiceDefinition>> {
  loaded ??= load();
  return loaded;
}

function load(): Readonly<Record<PluginServiceName, ServiceDefinition>> {
  const data = JSON.parse(readFileSync(new URL("./data/velero-plugins.json", import.meta.url), "utf8")) as Parameters<typeof fromJSON>[0];
  const root = loadPackageDefinition(fromJSON(data, { keepCase: true, longs: String, enums: String, defaults: true }));
  return Object.fromEntries(Object.entries(SERVICES).map(([name, path]) => [name, definitionOf(root, path)])) as Record<PluginServiceName, ServiceDefinition>;
}

function definitionOf(root: GrpcObject, path: string): ServiceDefinition {
  let node: GrpcObject[string] | undefined = root;
  for (const part of path.split(".")) node = (node as GrpcObject | undefined)?.[part];
  if (typeof node !== "function") throw new DrayError("INVARIANT", `Cannot load plug-in service "${path}": the data do not define it`);
  return node.service;
}
