import { fixedDiscovery } from "@drayage/kube";
import { expect, it } from "vitest";
import { defaultServerSettings } from "../server-settings.ts";
import { servedResources } from "../testing/recorded-cluster.ts";
import { restoreOrder } from "./restore-order.ts";

it("brings back what others need first, then the rest in byte order, then what must come last", async () => {
  const inBackup = [
    "deployments.apps",
    "clusters.cluster.x-k8s.io",
    "pods",
    "services",
    "cronjobs.batch",
    "persistentvolumeclaims",
    "datauploads.velero.io",
    "namespaces",
    "serviceaccounts",
    "replicasets.apps",
    "customresourcedefinitions.apiextensions.k8s.io",
    "persistentvolumes",
  ];
  expect(await restoreOrder(inBackup, defaultServerSettings.restorePriorities, fixedDiscovery(servedResources))).toEqual([
    "customresourcedefinitions.apiextensions.k8s.io",
    "namespaces",
    "datauploads.velero.io",
    "persistentvolumes",
    "persistentvolumeclaims",
    "serviceaccounts",
    "pods",
    "replicasets.apps",
    "services",
    "cronjobs.batch",
    "deployments.apps",
    "clusters.cluster.x-k8s.io",
  ]);
});
