/** Takes one out of a list whose others keep their order: `splice` without an array of answers. */
export function removeAt<T>(list: T[], at: number): T {
  const taken = list[at];
  const last = list.length - 1;
  for (let i = at; i < last; i++) list[i] = list[i + 1];
  list.pop();
  return taken;
}
