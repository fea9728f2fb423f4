/** Roles stay as they are configured. */
import { defineElasticity, type ElasticityPolicy } from '../../core/policy-kit.ts';

const FIXED: ElasticityPolicy = { intervalNs: 0, adjust: () => [] };

export default defineElasticity({ source: 'textbook', params: {}, create: () => FIXED });
