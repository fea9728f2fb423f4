/** A process that is a store and nothing else: joins the registry, serves clients, leaves. */
import { InputError } from '../../core/errors.ts';
import { type ChannelOptions, Channels, railsAt } from '../control/channels.ts';
import { ANY, type Lease } from '../registry/registry.ts';
import { StoreServer } from './server.ts';
import { STORE_LETTER, STORE_TTL_MS, STORES, type StoreEntry, type StoreSettings } from './spec.ts';

const RETRY_MS = 1000;

export interface StoreAgentOptions
  extends Pick<ChannelOptions, 'name' | 'listen' | 'security' | 'registry'> {
  readonly settings: StoreSettings;
  /** It can't go on. */
  readonly onError: (error: unknown) => void;
  readonly onWarning: (message: string) => void;
}

export class StoreAgent {
  readonly channels: Channels;
  private readonly options: StoreAgentOptions;
  private store: StoreServer | null = null;
  private lease: Lease | null = null;
  private leaving = false;

  constructor(options: StoreAgentOptions) {
    this.options = options;
    this.channels = new Channels({
      ...options,
      endpointOf: () => null,
      onLetter: (peer, letter) => this.receive(peer, letter),
      onReset: (peer) => this.store?.reset(peer),
    });
  }

  async join(): Promise<void> {
    const { name, listen, security, settings, onError } = this.options;
    const { links } = this.channels;
    const endpoint = await this.channels.listen();
    const incarnation = await nextLife(this.channels, name);
    this.store = await StoreServer.open({
      name,
      incarnation,
      settings: { ...settings, rails: railsAt(listen, security, settings.rails) },
      say: (peer, message) => links.send(peer, [STORE_LETTER, message]),
      onError,
    });
    const { slots, segment } = this.store;
    const { slotBytes, objectBytesMax } = settings;
    const bytes = Buffer.from(segment).toString('base64');
    const entry = { name, endpoint, incarnation, slotBytes, slots, objectBytesMax, segment: bytes };
    await this.show(entry);
  }

  /** Says that it is there, and again whenever its lease was lost: its objects are there still. */
  private async show(entry: StoreEntry): Promise<void> {
    const lease = await this.channels.registry.lease(STORE_TTL_MS);
    await lease.put(STORES + entry.name, JSON.stringify(entry), ANY);
    this.lease = lease;
    void lease.lost.then(() => this.showAgain(entry));
  }

  private async showAgain(entry: StoreEntry): Promise<void> {
    this.options.onWarning('its membership was lost: it joins anew');
    while (!this.leaving) {
      try {
        await this.show(entry);
        return;
      } catch (error) {
        this.options.onWarning(`it can't join: ${(error as Error).message}`);
        await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
      }
    }
  }

  async leave(): Promise<void> {
    this.leaving = true;
    await this.lease?.end().catch(() => {});
    await this.channels.close();
    await this.store?.close();
  }

  private receive(peer: string, letter: unknown): void {
    const isStore = Array.isArray(letter) && letter[0] === STORE_LETTER;
    if (!isStore) throw new InputError('found no message to a store');
    this.store?.receive(peer, letter[1]);
  }
}

/** Lives of a store so far: every start is another one. */
async function nextLife({ registry }: Channels, name: string): Promise<number> {
  const key = `store/lives/${name}`;
  for (;;) {
    const found = await registry.get(key);
    const life = found === null ? 0 : Number(found.value) + 1;
    const written = await registry.put(key, String(life), found?.revision ?? 0);
    if (written !== null) return life;
  }
}
