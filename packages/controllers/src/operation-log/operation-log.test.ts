import { fromUtf8, nullLogger } from "@drayage/base";
import { VirtualClock } from "@drayage/base/testing";
import { describe, expect, it } from "vitest";
import { countMessages, formatLine, mergeMessages, OperationLog } from "./operation-log.ts";

const log = () => new OperationLog({ clock: new VirtualClock(Date.UTC(2026, 10, 21, 4, 12, 45)), server: nullLogger, fields: { backup: "velero/fourth" } });

describe("OperationLog", () => {
  it("writes lines in the text format of Velero's logger", () => {
    const operation = log();
    operation.logger.info("Including namespaces: nowhere");
    operation.logger.warn("Slow", { resource: "pods", name: "a b", namespace: "x" });
    expect(fromUtf8(operation.bytes())).toBe(
      'time="2026-11-21T04:12:45Z" level=info msg="Including namespaces: nowhere" backup=velero/fourth\n' +
        'time="2026-11-21T04:12:45Z" level=warning msg="Slow" backup=velero/fourth name="a b" namespace=x resource=pods\n',
    );
  });

  // The message that Velero 1.18.3 stored for a namespace that does not exist.
  it("turns an error of the log into a message of the results as Velero words it", () => {
    const operation = log();
    operation.logger.error("fail to get the namespace nowhere", { resource: "namespaces" });
    expect(operation.results).toEqual({ errors: { velero: [" resource: /namespaces message: /fail to get the namespace nowhere"] }, warnings: {} });
    expect(operation.errorCount).toBe(1);
  });

  it("files messages under their namespace, and those of cluster scope under cluster", () => {
    const operation = log();
    operation.logger.error("A", { namespace: "web", error: "why" });
    operation.warn("", "B");
    expect(operation.results).toEqual({ errors: { namespaces: { web: [" message: /A error: /why"] } }, warnings: { cluster: ["B"] } });
  });

  it("leaves debug lines out", () => {
    const operation = log();
    operation.logger.debug("noise");
    expect(operation.bytes()).toHaveLength(0);
  });

  it("keeps long logs whole", () => {
    const operation = log();
    for (let line = 0; line < 3000; line++) operation.logger.info(`line ${line}`);
    expect(fromUtf8(operation.bytes()).split("\n")).toHaveLength(3001);
  });
});

it("formatLine(): quotes what is not plain", () => {
  expect(formatLine(0, "error", 'say "x"', { n: 3, empty: "", list: ["a"] })).toBe(
    'time="1970-01-01T00:00:00Z" level=error msg="say \\"x\\"" empty= list="[\\"a\\"]" n=3',
  );
});

it("mergeMessages(): keeps what both say", () => {
  const merged = mergeMessages({ velero: ["a"], namespaces: { n: ["b"] } }, { namespaces: { n: ["c"], m: ["d"] } });
  expect(merged).toEqual({ velero: ["a"], namespaces: { n: ["b", "c"], m: ["d"] } });
  expect(countMessages(merged)).toBe(4);
});
