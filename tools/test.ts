/**
 * `npm test`: the gate, then every test project. Suites that need real programs (kopia, kubectl, …) run where those are found, and otherwise are named together with the command that builds them;
 * with CI set a missing one is a failure. The last line counts: `N passed, N failed`.
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { join, relative, resolve } from "node:path";
import { OUTSIDE_ERRORS_VARIABLE } from "../test/outside-errors.ts";
import { compatSuites } from "./compat-suites.ts";
import { unprovenScenarios } from "./generations.ts";
import { runInRealCluster, whyNoRealCluster } from "./real-cluster.ts";

const root = resolve(import.meta.dirname, "..");
const bin = (name: string): string => join(root, "node_modules", ".bin", name);
const peersFolder = process.env["PEERS_BIN"] ?? join(homedir(), ".cache", "drayage-peers", "bin");

interface VitestReport {
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly numPendingTests: number;
  readonly testResults: readonly {
    readonly name: string;
    readonly status: string;
    readonly startTime: number;
    readonly endTime: number;
    readonly message: string;
    readonly assertionResults: readonly {
      readonly title: string;
      readonly fullName: string;
      readonly status: string;
      readonly failureMessages: readonly string[];
    }[];
  }[];
}

/** Of one failure's message, in characters: enough for the assertion, what came and the lines of the stack that are ours. */
const longestMessage = 4_000;
const isCi = (process.env["CI"] ?? "") !== "";
/** Tests that ran, for what is proven by them. */
const ran = { files: new Set<string>(), passed: new Set<string>() };
/** What failed, and why: said again at the end, since a log of an hour is read from there. */
const faults: string[] = [];
let passed = 0;
let failed = 0;

function count(name: string, status: number | null): void {
  if (status === 0) passed++;
  else {
    failed++;
    faults.push(name);
  }
}

const runHere = (words: readonly string[]): number | null => spawnSync(words[0] ?? "", words.slice(1), { cwd: root, stdio: "inherit" }).status;
const testReporters = ["--reporter=default", "--reporter=json", "--reporter=./test/outside-errors.ts"];

/** Runs a project of tests, or only the given files of it; `run` starts a command and returns how it ended. */
function runProject(project: string, files: readonly string[] = [], run = runHere): void {
  const folder = mkdtempSync(join(tmpdir(), "drayage-test-"));
  const reportPath = join(folder, "report.json");
  const outsidePath = join(folder, "outside.json");
  process.env[OUTSIDE_ERRORS_VARIABLE] = outsidePath;
  const status = run([bin("vitest"), "run", ...files, "--project", project, ...testReporters, `--outputFile.json=${reportPath}`]);
  if (existsSync(reportPath)) {
    const report = JSON.parse(readFileSync(reportPath, "utf8")) as VitestReport;
    passed += report.numPassedTests;
    for (const { name, assertionResults } of report.testResults) {
      const file = relative(root, name);
      ran.files.add(file);
      for (const { title, status: end } of assertionResults) if (end === "passed") ran.passed.add(`${file}: ${title}`);
    }
    faults.push(...reportedFaults(project, report));
    // A file that does not load has no tests to fail; it counts as one.
    const broken = report.testResults.filter((file) => file.status === "failed" && file.assertionResults.length === 0).length;
    const outside = outsideErrors(outsidePath);
    faults.push(...outside.map((error) => `${project}: outside of the tests: ${error}`));
    const faulty = report.numFailedTests + broken + outside.length;
    failed += faulty;
    if (status !== 0 && faulty === 0) count(`${project}: vitest ended with ${status} though nothing failed; why is in its output above`, status);
    if (project !== "unit") {
      for (const file of report.testResults)
        process.stdout.write(`${project}: ${file.name.replace(`${root}/`, "")} took ${((file.endTime - file.startTime) / 60_000).toFixed(1)} min\n`);
    }
  } else {
    count(`tests of project ${project} did not run`, status ?? 1);
  }
  rmSync(folder, { recursive: true, force: true });
}

/** What went wrong outside of the tests: of a process that died, its file and its signal. */
function outsideErrors(path: string): string[] {
  const errors = existsSync(path) ? (JSON.parse(readFileSync(path, "utf8")) as readonly string[]) : [];
  return errors.map((error) => error.slice(0, longestMessage));
}

/** Each failed test with the start of its message; for a file that does not load, the file with its own. */
function reportedFaults(project: string, report: VitestReport): string[] {
  return report.testResults.flatMap(({ name, status, message, assertionResults }) => {
    const where = `${project}: ${relative(root, name)}`;
    if (status === "failed" && assertionResults.length === 0) return [`${where}: ${message.slice(0, longestMessage)}`];
    return assertionResults
      .filter((test) => test.status === "failed")
      .map((test) => `${where}: ${test.fullName}\n${test.failureMessages.join("\n").slice(0, longestMessage)}`);
  });
}

/** Whether a program that suites compare with is there. */
function isThere(name: string): boolean {
  return name === "azurite" ? existsSync(join(root, "test", "azurite", "node_modules", "azurite")) : existsSync(join(peersFolder, name));
}

count("npm run check", spawnSync(process.execPath, [join(root, "tools", "check.ts"), "--fast"], { cwd: root, stdio: "inherit" }).status);
runProject("unit");
runProject("e2e");
const suites = [...compatSuites(join(root, "test", "compat")), ...compatSuites(join(root, "test", "real-cluster"))];
const missing = [...new Set(suites.flatMap((suite) => suite.needs))].filter((name) => !isThere(name)).sort();
const complete = suites.filter((suite) => !suite.needs.some((name) => missing.includes(name)));
const completeIn = (folder: string): string[] => complete.map((suite) => relative(root, suite.path)).filter((path) => path.startsWith(`test/${folder}/`));
if (completeIn("compat").length > 0) runProject("compat", completeIn("compat"));
if (completeIn("real-cluster").length > 0) {
  // With those of test/e2e that vitest.config.ts names.
  const why = whyNoRealCluster();
  if (why === undefined) runProject("real-cluster", [], runInRealCluster);
  else {
    process.stdout.write(`\nLeft out: test/real-cluster: ${why}\n`);
    if (isCi) count("the real cluster, which does not run here", 1);
  }
}
if (missing.length > 0) {
  const leftOut = suites.filter((suite) => !complete.includes(suite)).map((suite) => relative(root, suite.path));
  const peers = missing.filter((name) => name !== "azurite");
  process.stdout.write(`\nLeft out: ${leftOut.join(", ")}. Not found: ${missing.join(", ")}.\n`);
  if (peers.length > 0) process.stdout.write(`Build them into ${peersFolder} with ../shared/peers/build (PEERS_BIN names another folder).\n`);
  if (missing.includes("azurite")) process.stdout.write("Install azurite with: npm ci --prefix test/azurite --ignore-scripts\n");
  if (isCi) count(`compat suites whose programs are missing: ${missing.join(", ")}`, 1);
}
for (const missing of unprovenScenarios(ran)) count(missing, 1);
for (const fault of faults) process.stdout.write(`\nFAILED: ${fault}\n`);
process.stdout.write(`\n${passed} passed, ${failed} failed\n`);
process.exitCode = failed > 0 ? 1 : 0;
