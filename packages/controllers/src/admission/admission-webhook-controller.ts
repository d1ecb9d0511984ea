/** Keeps the admission webhook's certificate and its registration: observes, decides (admission-webhook.ts), writes. One leader at a time does so. */
import { type Clock, hasCode, type Logger, type RandomSource } from "@drayage/base";
import { component, SERVER_NAME, WEBHOOK_CERTIFICATE, WEBHOOK_SERVICE, webhookConfiguration, webhookConfigurationName, webhookHost } from "@drayage/install";
import {
  clusterRoles,
  type Informer,
  type KubeClient,
  type KubeObject,
  namespaces,
  type ReconcileResult,
  secrets,
  services,
  source,
  startController,
  startInformer,
  type ValidatingWebhookConfiguration,
  validatingWebhookConfigurations,
} from "@drayage/kube";
import type { RunningController } from "../backup/backup-controller.ts";
import { type AdmissionStep, decideAdmission, VALID_MS } from "./admission-webhook.ts";
import { BACKDATED_MS, certificateData, type KeptCertificates, readCertificates, type ServingPair } from "./webhook-certificates.ts";

/** Makes a certificate for a host with an authority of its own, whose key nobody keeps. */
export type IssueCertificate = (options: {
  readonly host: string;
  readonly fromMs: number;
  readonly untilMs: number;
}) => Promise<ServingPair & { readonly authorityPem: string }>;

export interface AdmissionWebhookControllerDeps {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly random: RandomSource;
  readonly logger: Logger;
  readonly namespace: string;
  readonly issue: IssueCertificate;
  /** False where nobody serves it. */
  readonly isServed: boolean;
}

const FIELD_MANAGER = "drayage-server";

export function startAdmissionWebhookController(deps: AdmissionWebhookControllerDeps): RunningController {
  const { client, clock, random, logger, namespace } = deps;
  const host = webhookHost(namespace);
  const only = (name: string): { readonly fieldSelector: string } => ({ fieldSelector: `metadata.name=${name}` });
  const configurations = startInformer(validatingWebhookConfigurations, { client, clock, random, logger, ...only(webhookConfigurationName(namespace)) });
  const certificates = startInformer(secrets, { ...deps, ...only(WEBHOOK_CERTIFICATE) });
  const found = startInformer(services, { ...deps, ...only(WEBHOOK_SERVICE) });
  const secretKey = { namespace, name: WEBHOOK_CERTIFICATE };

  const reconcile = async (_: unknown, signal: AbortSignal): Promise<ReconcileResult> => {
    for (const informer of [configurations, certificates, found] as readonly Informer<KubeObject>[]) await informer.synced(signal);
    const nowMs = clock.nowMs();
    const kept = readCertificates(certificates.get(secretKey), host, nowMs);
    const desired = webhookConfiguration(namespace, kept.authorities.join("")) as unknown as ValidatingWebhookConfiguration;
    const { step, recheckAfterMs } = decideAdmission({
      nowMs,
      isWanted: deps.isServed && found.get({ namespace, name: WEBHOOK_SERVICE }) !== undefined,
      certificates: kept,
      configuration: configurations.get({ name: webhookConfigurationName(namespace) }),
      desired,
    });
    if (step !== undefined) await perform(step, kept, desired, nowMs, signal);
    return recheckAfterMs === undefined ? {} : { requeueAfterMs: recheckAfterMs };
  };

  const perform = async (step: AdmissionStep, kept: KeptCertificates, desired: ValidatingWebhookConfiguration, nowMs: number, signal: AbortSignal) => {
    switch (step) {
      case "unregister":
        await client.delete(validatingWebhookConfigurations, { name: webhookConfigurationName(namespace) }, { signal });
        return logger.info("The admission webhook is not registered any more");
      case "register": {
        const owner = await ownerOf(client, namespace, signal);
        const object = owner === undefined ? desired : { ...desired, metadata: { ...desired.metadata, ownerReferences: [owner] } };
        await client.apply(validatingWebhookConfigurations, object, { fieldManager: FIELD_MANAGER, force: true, signal });
        return logger.info("The admission webhook is registered", { authorities: kept.authorities.length });
      }
      case "showNext":
        if (kept.next !== undefined) await keep(certificateData(kept.next, undefined, kept.authorities), signal);
        return logger.info("The next certificate of the admission webhook is shown");
      default: {
        const issued = await deps.issue({ host, fromMs: nowMs - BACKDATED_MS, untilMs: nowMs + VALID_MS });
        const authorities = [...kept.authorities, issued.authorityPem];
        const isNext = step === "issueNext" && kept.current !== undefined;
        await keep(isNext ? certificateData(kept.current, issued, authorities) : certificateData(issued, undefined, authorities), signal);
        return logger.info("A certificate of the admission webhook was made", { isNext });
      }
    }
  };

  /** Only over what was seen: another leader's change brings us here again. The key goes with the Service, which goes with the installation whoever made it. */
  const keep = async (data: Record<string, string>, signal: AbortSignal): Promise<void> => {
    const before = certificates.get(secretKey);
    const labels = { ...component("server"), "velero.io/exclude-from-backup": "true" };
    const { resourceVersion } = before?.metadata ?? {};
    const { uid } = found.get({ namespace, name: WEBHOOK_SERVICE })?.metadata ?? {};
    const ownerReferences = uid === undefined ? [] : [{ apiVersion: "v1", kind: "Service", name: WEBHOOK_SERVICE, uid }];
    const metadata = { ...secretKey, labels, ownerReferences, ...(resourceVersion === undefined ? {} : { resourceVersion }) };
    const secret = { apiVersion: "v1", kind: "Secret", metadata, type: "kubernetes.io/tls", data };
    try {
      if (before === undefined) await client.create(secrets, secret, { signal });
      else await client.replace(secrets, { ...secret, type: before.type ?? secret.type }, { signal });
    } catch (error) {
      if (!hasCode(error, "KUBE_CONFLICT", "KUBE_ALREADY_EXISTS", "KUBE_NOT_FOUND")) throw error;
    }
  };

  const toKeys = (): { readonly name: string }[] => [{ name: webhookConfigurationName(namespace) }];
  const controller = startController({
    name: "admission-webhook",
    clock,
    random,
    logger,
    sources: [source(configurations, { toKeys }), source(certificates, { toKeys }), source(found, { toKeys })],
    reconcile,
  });
  return {
    idle: () => controller.idle(),
    async stop() {
      await controller.stop();
      for (const informer of [configurations, certificates, found]) informer.stop();
    },
  };
}

/** What the registration goes with: the server's ClusterRole, which goes with the installation, or where that is called otherwise the namespace. */
async function ownerOf(
  client: KubeClient,
  namespace: string,
  signal: AbortSignal,
): Promise<NonNullable<KubeObject["metadata"]["ownerReferences"]>[number] | undefined> {
  const name = `${SERVER_NAME}-${namespace}`;
  const role = await client.find(clusterRoles, { name }, signal);
  if (role?.metadata.uid !== undefined) return { apiVersion: "rbac.authorization.k8s.io/v1", kind: "ClusterRole", name, uid: role.metadata.uid };
  const found = await client.find(namespaces, { name: namespace }, signal);
  return found?.metadata.uid === undefined ? undefined : { apiVersion: "v1", kind: "Namespace", name: namespace, uid: found.metadata.uid };
}
