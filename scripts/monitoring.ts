/** Writes reports/monitoring: the Grafana dashboard and the Prometheus rules, from the one list. */
import { writeFileSync } from 'node:fs';
import { dashboard, rulesYaml } from '../src/runtime/ops/monitoring.ts';

const folder = new URL('../reports/monitoring/', import.meta.url);
writeFileSync(new URL('dashboard.json', folder), `${JSON.stringify(dashboard(), null, 2)}\n`);
writeFileSync(new URL('rules.yml', folder), rulesYaml());
