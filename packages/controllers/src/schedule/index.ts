export { backupFromSchedule } from "./backup-from-schedule.ts";
export { type CronSchedule, parseCron } from "./cron.ts";
export { type ScheduleControllerDeps, startScheduleController } from "./schedule-controller.ts";
