// Which items to take, when each saves something, each layer that has any costs something once, and what is taken must
// fit: a knapsack with one fixed charge a group. Solved exactly where nothing has to be left out for lack of room (the
// usual case, in linear time) and for few items (branch and bound); otherwise by a Lagrangian relaxation, which also
// says how far from the best the answer can be.

export interface Item {
  /** What taking it saves, in any unit; may be negative. */
  readonly saved: number;
  /** Index in `Problem.charges`. */
  readonly group: number;
  /** What it takes of each capacity, ≥ 0. */
  readonly weights: readonly number[];
}

export interface Problem {
  readonly items: readonly Item[];
  /** For each group: what is lost once when anything of it is taken, ≥ 0. */
  readonly charges: readonly number[];
  /** At most two; Infinity: no limit. */
  readonly capacities: readonly number[];
}

export interface Selection {
  /** By item. */
  readonly taken: readonly boolean[];
  /** Net of the groups' charges. */
  readonly saved: number;
  /** No selection saves more. Equal to `saved` when the selection is known to be a best one. */
  readonly bound: number;
}

/** Items up to which a search that tries everything worth trying is started. */
const MOST_SEARCHED = 64;
/** Nodes after which the search gives up; what it has found by then counts. */
const MOST_NODES = 300_000;

/** Pure and deterministic: of equally good selections always the same one. */
export function chooseItems(problem: Problem): Selection {
  const { items, charges, capacities } = problem;
  const fits = (item: Item) => item.weights.every((weight, k) => weight <= capacities[k]!);
  const worth = items.map((item) => item.saved > 0 && fits(item));
  const free = takeWorthwhile(problem, worth);
  if (withinCapacities(problem, free)) {
    const saved = savedBy(problem, free);
    return { taken: free, saved, bound: saved };
  }
  const limited = capacities.flatMap((capacity, k) => (Number.isFinite(capacity) ? [k] : []));
  const dual = new Dual(problem, worth, limited);
  const prices = findPrices(dual, capacities);
  const bound = dual.at(prices);
  let best = fill(problem, worth, prices);
  const order = byDensity(items, worth, prices);
  if (order.length <= MOST_SEARCHED) {
    const search = new Search(problem, order, prices, best);
    if (search.run()) return { taken: search.taken, saved: search.saved, bound: search.saved };
    best = search.taken;
  }
  const saved = savedBy({ items, charges, capacities }, best);
  return { taken: best, saved, bound: Math.max(saved, bound) };
}

/** What a selection saves, net of charges. */
export function savedBy({ items, charges }: Problem, taken: readonly boolean[]): number {
  const open = new Set<number>();
  let saved = 0;
  for (const [i, item] of items.entries()) {
    if (!taken[i]) continue;
    saved += item.saved;
    open.add(item.group);
  }
  for (const group of open) saved -= charges[group]!;
  return saved;
}

export function withinCapacities({ items, capacities }: Problem, taken: readonly boolean[]): boolean {
  const room = [...capacities];
  for (const [i, item] of items.entries()) if (taken[i]) use(room, item);
  return room.every((left) => left >= 0);
}

function use(room: number[], { weights }: Item): void {
  for (const [k, weight] of weights.entries()) room[k]! -= weight;
}

/** All items that save, of the groups in which they save more than the charge. */
function takeWorthwhile({ items, charges }: Problem, worth: readonly boolean[]): boolean[] {
  const gains = charges.map((charge) => -charge);
  for (const [i, item] of items.entries()) if (worth[i]) gains[item.group]! += item.saved;
  return items.map((item, i) => worth[i]! && gains[item.group]! > 0);
}

const priceOf = (item: Item, prices: readonly number[]): number =>
  item.weights.reduce((sum, weight, k) => sum + (prices[k] === 0 ? 0 : weight * prices[k]!), 0);

/**
 * The Lagrangian dual: capacity is sold at a price instead of being limited. For any prices ≥ 0 it is at least what
 * the best selection saves. In columns: it is asked for some hundred times.
 */
class Dual {
  private readonly saved: Float64Array;
  private readonly group: Uint32Array;
  private readonly weights: readonly Float64Array[];
  private readonly gains: Float64Array;

  /** @param limited capacities that are not infinite */
  constructor(
    private readonly problem: Problem,
    worth: readonly boolean[],
    readonly limited: readonly number[],
  ) {
    const items = problem.items.filter((_, i) => worth[i]);
    this.saved = Float64Array.from(items, ({ saved }) => saved);
    this.group = Uint32Array.from(items, ({ group }) => group);
    this.weights = limited.map((k) => Float64Array.from(items, ({ weights }) => weights[k]!));
    this.gains = new Float64Array(problem.charges.length);
  }

  /** @param prices one for each capacity; 0 for those without a limit */
  at(prices: readonly number[]): number {
    const { saved, group, weights, gains, limited } = this;
    for (let g = 0; g < gains.length; g++) gains[g] = -this.problem.charges[g]!;
    const [first, second] = [weights[0], weights[1]];
    const [a, b] = [prices[limited[0] ?? 0] ?? 0, prices[limited[1] ?? 0] ?? 0];
    for (let i = 0; i < saved.length; i++) {
      const left = saved[i]! - (first ? a * first[i]! : 0) - (second ? b * second[i]! : 0);
      if (left > 0) gains[group[i]!]! += left;
    }
    let sum = 0;
    for (const k of limited) sum += prices[k]! * this.problem.capacities[k]!;
    for (const gain of gains) if (gain > 0) sum += gain;
    return sum;
  }

  /** The price of a capacity at which nothing is worth it any more. */
  most(k: number): number {
    const weight = this.weights[this.limited.indexOf(k)]!;
    let top = 0;
    for (let i = 0; i < weight.length; i++) if (weight[i]! > 0) top = Math.max(top, this.saved[i]! / weight[i]!);
    return top;
  }
}

/** Prices at which the dual is low: along each capacity in turn, by golden section; it is convex. */
function findPrices(dual: Dual, capacities: readonly number[]): number[] {
  const prices = capacities.map(() => 0);
  const { limited } = dual;
  for (let round = 0; round < (limited.length > 1 ? 3 : 1); round++) {
    for (const k of limited) prices[k] = lowest((price) => dual.at(prices.with(k, price)), dual.most(k));
  }
  return prices;
}

const GOLDEN = (Math.sqrt(5) - 1) / 2;

function lowest(value: (x: number) => number, most: number): number {
  let [low, high] = [0, most];
  let a = high - GOLDEN * (high - low);
  let b = low + GOLDEN * (high - low);
  let [atA, atB] = [value(a), value(b)];
  for (let i = 0; i < 48; i++) {
    if (atA <= atB) {
      [high, b, atB] = [b, a, atA];
      a = high - GOLDEN * (high - low);
      atA = value(a);
    } else {
      [low, a, atA] = [a, b, atB];
      b = low + GOLDEN * (high - low);
      atB = value(b);
    }
  }
  const middle = (low + high) / 2;
  return value(0) <= value(middle) ? 0 : middle;
}

/** Items worth taking, those first that save most for what they take. */
function byDensity(items: readonly Item[], worth: readonly boolean[], prices: readonly number[]): number[] {
  const density = items.map((item) => item.saved / (priceOf(item, prices) || Number.MIN_VALUE));
  return items
    .map((_, i) => i)
    .filter((i) => worth[i])
    .sort((a, b) => density[b]! - density[a]! || items[b]!.saved - items[a]!.saved || a - b);
}

/** A selection that fits: by density, of the groups that are worth their charge at these prices; then what else fits. */
function fill(problem: Problem, worth: readonly boolean[], prices: readonly number[]): boolean[] {
  const { items, charges, capacities } = problem;
  const gains = charges.map((charge) => -charge);
  for (const [i, item] of items.entries()) {
    if (worth[i]) gains[item.group]! += Math.max(0, item.saved - priceOf(item, prices));
  }
  const order = byDensity(items, worth, prices);
  let best = items.map(() => false);
  let bestSaved = 0;
  for (const allowed of [(i: number) => gains[items[i]!.group]! > 0, () => true]) {
    const taken = items.map(() => false);
    const room = [...capacities];
    for (const i of order) {
      if (!allowed(i) || items[i]!.weights.some((weight, k) => weight > room[k]!)) continue;
      taken[i] = true;
      use(room, items[i]!);
    }
    const kept = takeWorthwhile(problem, taken);
    const saved = savedBy(problem, kept);
    if (saved > bestSaved) [best, bestSaved] = [kept, saved];
  }
  return best;
}

/** Depth first, taking before leaving; cut off where even the relaxed rest cannot beat what is known. */
class Search {
  taken: boolean[];
  saved: number;
  private nodes = 0;
  private readonly now: boolean[];
  private readonly room: number[];
  private readonly opened: number[];
  /** By position in the order: what the items from there on save at most, at the prices. */
  private readonly rest: number[];

  constructor(
    private readonly problem: Problem,
    private readonly order: readonly number[],
    private readonly prices: readonly number[],
    start: readonly boolean[],
  ) {
    this.taken = [...start];
    this.saved = savedBy(problem, start);
    this.now = problem.items.map(() => false);
    this.room = [...problem.capacities];
    this.opened = problem.charges.map(() => 0);
    this.rest = new Array<number>(order.length + 1).fill(0);
    for (let at = order.length - 1; at >= 0; at--) {
      const item = problem.items[order[at]!]!;
      this.rest[at] = this.rest[at + 1]! + Math.max(0, item.saved - priceOf(item, prices));
    }
  }

  /** @returns whether everything was looked at */
  run(): boolean {
    return this.visit(0, 0);
  }

  private visit(at: number, saved: number): boolean {
    this.nodes += 1;
    if (this.nodes > MOST_NODES) return false;
    if (saved > this.saved) {
      this.saved = saved;
      this.taken = [...this.now];
    }
    if (at === this.order.length) return true;
    const sold = this.prices.reduce((sum, price, k) => sum + (price === 0 ? 0 : price * this.room[k]!), 0);
    if (saved + this.rest[at]! + sold <= this.saved) return true;
    const i = this.order[at]!;
    const item = this.problem.items[i]!;
    if (item.weights.every((weight, k) => weight <= this.room[k]!)) {
      const charge = this.opened[item.group] === 0 ? this.problem.charges[item.group]! : 0;
      this.take(i, item, 1);
      const whole = this.visit(at + 1, saved + item.saved - charge);
      this.take(i, item, -1);
      if (!whole) return false;
    }
    return this.visit(at + 1, saved);
  }

  private take(i: number, item: Item, sign: 1 | -1): void {
    this.now[i] = sign === 1;
    this.opened[item.group]! += sign;
    for (const [k, weight] of item.weights.entries()) if (Number.isFinite(this.room[k])) this.room[k]! -= sign * weight;
  }
}
