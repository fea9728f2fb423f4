/** Every figure that is reproduced, in the order of the table. */
import { arxivFigure8, arxivTable3 } from './figures/arxiv.ts';
import { figure1, figure7 } from './figures/figure-1.ts';
import { figure5 } from './figures/figure-5.ts';
import { figure8 } from './figures/figure-8.ts';
import { figure9 } from './figures/figure-9.ts';
import { figure10 } from './figures/figure-10.ts';
import { figure11 } from './figures/figure-11.ts';
import { figure12 } from './figures/figure-12.ts';
import { figure13 } from './figures/figure-13.ts';
import { figure14 } from './figures/figure-14.ts';
import { figure15 } from './figures/figure-15.ts';
import type { Figure } from './types.ts';

export const FIGURES: readonly Figure[] = [
  figure1,
  figure5,
  figure7,
  figure8,
  figure9,
  figure10,
  figure11,
  figure12,
  figure13,
  figure14,
  figure15,
  arxivTable3,
  arxivFigure8,
];
