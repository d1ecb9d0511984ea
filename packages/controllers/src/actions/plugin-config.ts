import { DrayError } from "@drayage/base";
import { type ConfigMap, configMaps, type KubeClient } from "@drayage/kube";
import { allOf } from "../all-of.ts";

/** What users tell an action, by the two labels that Velero's built-in actions look for. It is read once. */
export class PluginConfig {
  readonly #client: KubeClient;
  readonly #namespace: string;
  readonly #action: string;
  #loading: Promise<ReadonlyMap<string, string>> | undefined;

  /** @param action - as `velero.io/change-storage-class` */
  constructor(client: KubeClient, namespace: string, action: string) {
    this.#client = client;
    this.#namespace = namespace;
    this.#action = action;
  }

  /** The entries of its ConfigMap, none where there is no ConfigMap. Throws VALIDATION_FAILED when there are several. */
  entries(signal: AbortSignal): Promise<ReadonlyMap<string, string>> {
    this.#loading ??= this.#load(signal).catch((error: unknown) => {
      // What did not work may work for the next item.
      this.#loading = undefined;
      throw error;
    });
    return this.#loading;
  }

  async #load(signal: AbortSignal): Promise<ReadonlyMap<string, string>> {
    const labelSelector = `velero.io/plugin-config,${this.#action}=RestoreItemAction`;
    const found = await allOf(this.#client.listAll<ConfigMap>(configMaps, { namespace: this.#namespace, labelSelector, signal }));
    if (found.length > 1) {
      throw new DrayError(
        "VALIDATION_FAILED",
        `Cannot tell what ${this.#action} shall do: ${found.length} ConfigMaps are labelled for it (${found.map(({ metadata }) => metadata.name).join(", ")}), where one is wanted`,
        { hint: `Delete all but one of them in namespace "${this.#namespace}".` },
      );
    }
    return new Map(Object.entries(found[0]?.data ?? {}));
  }
}
