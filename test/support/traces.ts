/** Real traces, found through MOONTIDE_TRACES. CI has them; elsewhere a test says what it lacks. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';

const FOLDER = process.env.MOONTIDE_TRACES ?? '';

/** Path of a file in $MOONTIDE_TRACES, or null. In CI it must be there. */
export function realTrace(file: string): string | null {
  const path = join(FOLDER, file);
  if (FOLDER !== '' && existsSync(path)) return path;
  if (process.env.CI === 'true') throw new Error(`CI lacks ${file}: set MOONTIDE_TRACES`);
  console.warn(`skipped: no ${file}; get it with: npx moontide trace fetch conversation`);
  return null;
}

export const CONVERSATION = 'mooncake_conversation.jsonl';
