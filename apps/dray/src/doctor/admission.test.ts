import { DrayError, systemRandom } from "@drayage/base";
import { readCertificates } from "@drayage/controllers";
import { WEBHOOK_CERTIFICATE, webhookConfiguration, webhookHost, webhookService } from "@drayage/install";
import { type Service, secrets, services, type ValidatingWebhookConfiguration, validatingWebhookConfigurations } from "@drayage/kube";
import { FakeKubeClient } from "@drayage/kube/testing";
import { beforeEach, expect, it } from "vitest";
import { issueCertificate } from "../roles/admission-server.ts";
import { admission } from "./admission.ts";

const namespace = "velero";
const DAY_MS = 86_400_000;
let client: FakeKubeClient;
beforeEach(() => {
  client = new FakeKubeClient();
  client.seed(services, webhookService(namespace) as unknown as Service);
});

const answers = async (): Promise<string[]> => {
  const findings = await admission({ client, namespace, nowMs: client.clock.nowMs(), signal: new AbortController().signal });
  return findings.map(({ severity, what }) => `${severity}: ${what}`);
};
const register = (caBundle: string): void =>
  void client.seed(validatingWebhookConfigurations, webhookConfiguration(namespace, caBundle) as unknown as ValidatingWebhookConfiguration);
const issue = () => {
  const nowMs = client.clock.nowMs();
  return issueCertificate({ random: systemRandom })({ host: webhookHost(namespace), fromMs: nowMs - DAY_MS, untilMs: nowMs + DAY_MS });
};
const keep = async (): Promise<string> => {
  const { certificatePem, keyPem, authorityPem } = await issue();
  const secret = {
    metadata: { namespace, name: WEBHOOK_CERTIFICATE },
    data: { "tls.crt": btoa(certificatePem), "tls.key": btoa(keyPem), "ca.crt": btoa(authorityPem) },
  };
  expect(readCertificates(secret, webhookHost(namespace), client.clock.nowMs()).current).toBeDefined();
  client.seed(secrets, secret);
  return authorityPem;
};

it("says which link to the admission webhook is broken, from the first on", async () => {
  expect(await answers()).toEqual(["warning: The admission webhook is not registered"]);
  register("");
  expect(await answers()).toEqual(["warning: The admission webhook has no certificate that can be used"]);
  const authority = await keep();
  expect(await answers()).toEqual(["warning: The API server does not trust the admission webhook"]);
  client.discard(validatingWebhookConfigurations, { name: `drayage-${namespace}` });
  register(authority);
  expect(await answers()).toEqual(["warning: The API server does not reach the admission webhook"]);
});

it("is content where the API server refuses what must be refused, and where there is no webhook", async () => {
  client.intercept = ({ verb, resource }) => {
    if (verb === "create" && resource === "backups.velero.io")
      throw new DrayError("KUBE_INVALID", 'Cannot create: admission webhook "backups.admission.drayage.io" denied the request: no');
  };
  expect(await answers()).toEqual(["ok: The admission webhook answers"]);
  client.discard(services, { namespace, name: "drayage-webhook" });
  expect(await answers()).toEqual(["ok: There is no admission webhook: wrong parameters of movers are told by the backups that would use them"]);
});
