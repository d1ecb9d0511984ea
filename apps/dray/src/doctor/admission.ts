/** Does the API server ask our server about what is written? Found out by trying, without storing it, a Backup that must be refused. */
import { backups, MOVER_ANNOTATIONS } from "@drayage/api";
import { hasCode, messageOf } from "@drayage/base";
import { readCertificates } from "@drayage/controllers";
import { WEBHOOK_CERTIFICATE, WEBHOOK_PORT, WEBHOOK_SERVICE, webhookConfigurationName, webhookHost } from "@drayage/install";
import { secrets, services, validatingWebhookConfigurations } from "@drayage/kube";
import type { DoctorContext, Finding, Question } from "./finding.ts";

/** No mover of any cluster has this parameter. */
const NO_PARAMETER = JSON.stringify({ "drayage-doctor": true });

export const admission: Question["ask"] = async (context) => {
  const { client, namespace, signal } = context;
  if ((await client.find(services, { namespace, name: WEBHOOK_SERVICE }, signal)) === undefined)
    return [{ severity: "ok", what: "There is no admission webhook: wrong parameters of movers are told by the backups that would use them" }];
  const metadata = { namespace, name: "drayage-doctor", annotations: { [MOVER_ANNOTATIONS.parameters]: NO_PARAMETER } };
  try {
    await client.create(backups, { apiVersion: "velero.io/v1", kind: "Backup", metadata, spec: {} }, { dryRun: true, signal });
  } catch (error) {
    if (hasCode(error, "KUBE_INVALID") && messageOf(error).includes("admission webhook")) return [{ severity: "ok", what: "The admission webhook answers" }];
    throw error;
  }
  return [await whyNot(context)];
};

/** What is wrong parameters are let through for. */
async function whyNot({ client, namespace, nowMs, signal }: DoctorContext): Promise<Finding> {
  const name = webhookConfigurationName(namespace);
  const configuration = await client.find(validatingWebhookConfigurations, { name }, signal);
  const finding = (what: string, why: string, fix: string): Finding => ({
    severity: "warning",
    what,
    why: `${why} Wrong parameters of movers are told only by the backups that would use them.`,
    fix,
  });
  const logs = `kubectl -n ${namespace} logs -l app.kubernetes.io/component=server`;
  if (configuration === undefined)
    return finding("The admission webhook is not registered", `ValidatingWebhookConfiguration "${name}", which the server makes, is not there.`, logs);
  const secret = await client.find(secrets, { namespace, name: WEBHOOK_CERTIFICATE }, signal);
  if (readCertificates(secret, webhookHost(namespace), nowMs).current === undefined)
    return finding(
      "The admission webhook has no certificate that can be used",
      `Secret "${WEBHOOK_CERTIFICATE}" is missing or damaged, or what is in it has ended or is for another host; the server makes it anew.`,
      logs,
    );
  const caBundle = configuration.webhooks?.[0]?.clientConfig.caBundle ?? "";
  if (readCertificates({ ...secret, data: { ...secret?.data, "ca.crt": caBundle } } as typeof secret, webhookHost(namespace), nowMs).current === undefined)
    return finding(
      "The API server does not trust the admission webhook",
      `The caBundle of ValidatingWebhookConfiguration "${name}" has not signed the certificate in Secret "${WEBHOOK_CERTIFICATE}"; the server brings it up to date.`,
      logs,
    );
  return finding(
    "The API server does not reach the admission webhook",
    `It asks Service "${WEBHOOK_SERVICE}" and gets no answer: no server is ready, or something between the control plane and port ${WEBHOOK_PORT} of its pod keeps it away.`,
    `kubectl -n ${namespace} get endpointslices -l kubernetes.io/service-name=${WEBHOOK_SERVICE}; let the control plane reach port ${WEBHOOK_PORT} of those pods`,
  );
}
