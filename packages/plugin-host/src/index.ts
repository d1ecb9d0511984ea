export { PLUGIN_KINDS, PluginHost, type PluginHostOptions, type PluginIdentity, type PluginKind } from "./plugin-host.ts";
export { PluginObjectStore } from "./plugin-object-store.ts";
