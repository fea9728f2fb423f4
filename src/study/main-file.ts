/** The built command line, for studies that start processes of it. */
import { fileURLToPath } from 'node:url';

const built = import.meta.url.endsWith('.ts') ? '../../dist/cli/main.js' : '../cli/main.js';
export const MAIN = fileURLToPath(new URL(built, import.meta.url));
