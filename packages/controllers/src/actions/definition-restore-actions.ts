/** Objects that extend the API: what an API server of today would refuse, or makes by itself. */
import type { GenericObject } from "@drayage/kube";
import { CUSTOM_RESOURCE_DEFINITIONS } from "./item-id.ts";
import type { RestoreAction } from "./restore-action.ts";

const API_V1 = "apiextensions.k8s.io/v1";
/** The aggregator's own mark on what it makes of built-in groups and definitions: `onstart` or `true`. */
const AUTOMANAGED = "kube-aggregator.kubernetes.io/automanaged";

interface DefinitionSpec {
  preserveUnknownFields?: boolean;
  versions?: { schema?: { openAPIV3Schema?: Record<string, unknown> } }[];
}

/** A definition that had been made in v1beta1 may keep unknown fields as a whole, which v1 refuses; its schemas say so instead. */
export const definitionRestoreAction: RestoreAction = {
  name: "velero.io/crd-preserve-fields",
  groupResource: CUSTOM_RESOURCE_DEFINITIONS,
  async execute(item) {
    const definition = structuredClone(item) as GenericObject & { spec?: DefinitionSpec };
    const { spec, apiVersion } = definition;
    if (apiVersion !== API_V1 || spec?.preserveUnknownFields !== true) return { item };
    spec.preserveUnknownFields = false;
    for (const { schema } of spec.versions ?? [])
      if (schema?.openAPIV3Schema !== undefined) schema.openAPIV3Schema["x-kubernetes-preserve-unknown-fields"] = true;
    return { item: definition };
  },
};

/** An APIService that the aggregator keeps is made again by it. */
export const apiServiceRestoreAction: RestoreAction = {
  name: "velero.io/apiservice",
  groupResource: "apiservices.apiregistration.k8s.io",
  execute: async (item) => ({ item, skip: item.metadata.labels?.[AUTOMANAGED] !== undefined }),
};

/** Webhooks whose side effects are `Unknown` or `Some` were allowed in v1beta1, and v1 refuses them. */
export const admissionRestoreActions: readonly RestoreAction[] = ["mutatingwebhookconfigurations", "validatingwebhookconfigurations"].map((plural) => ({
  name: "velero.io/admission-webhook-configuration",
  groupResource: `${plural}.admissionregistration.k8s.io`,
  async execute(item, { log }) {
    if (item.apiVersion !== "admissionregistration.k8s.io/v1") return { item };
    const configuration = structuredClone(item) as GenericObject & { webhooks?: { name?: string; sideEffects?: string }[] };
    for (const webhook of configuration.webhooks ?? []) {
      if (webhook.sideEffects !== "Unknown" && webhook.sideEffects !== "Some") continue;
      log.info(`Side effects of webhook "${webhook.name}" were ${webhook.sideEffects}, which v1 does not have; they become None`);
      webhook.sideEffects = "None";
    }
    return { item: configuration };
  },
}));
