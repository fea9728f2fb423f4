/** Admits everything. */
import { type AdmissionPolicy, defineAdmission } from '../../core/policy-kit.ts';

const ADMIT_ALL: AdmissionPolicy = { verdict: () => '' };

export default defineAdmission({ source: 'textbook', params: {}, create: () => ADMIT_ALL });
