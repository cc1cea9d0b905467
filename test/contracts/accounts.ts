/** Accounts that are more than a key: contracts (ERC-1271) and keys with a delegation (EIP-7702). */
import assert from 'node:assert/strict';
import { concatHex, encodeDeployData, zeroAddress, type Hex, type LocalAccount } from 'viem';
import { compile, type Compilation } from '../../contracts/compile.ts';
import type { Devnet } from './devnet.ts';

const source = 'contracts/test/Signers.sol';
let signers: Compilation | undefined;

/** Deploys one of the tests' ERC-1271 accounts. The first call compiles them, which takes seconds. */
export async function deploySigner(net: Devnet, name: string): Promise<Hex> {
  signers ??= compile([source]);
  return await net.deploy(signers.contract(source, name).bytecode);
}

/** A contract account that takes its owner's signatures for its own: the owner's account, under the contract's address. */
export async function ownedBy(net: Devnet, owner: LocalAccount): Promise<LocalAccount> {
  signers ??= compile([source]);
  const { abi, bytecode } = signers.contract(source, 'OwnedSigner');
  const address = await net.deploy(encodeDeployData({ abi, bytecode, args: [owner.address] }));
  return { ...owner, address };
}

/** Gives an account the code of another (EIP-7702), by a transaction that somebody else pays for. */
export async function delegate(net: Devnet, account: LocalAccount, contractAddress: Hex): Promise<void> {
  const { wallet, client } = net;
  const authorization = await wallet.signAuthorization({ account, contractAddress });
  const hash = await wallet.sendTransaction({ to: zeroAddress, authorizationList: [authorization] });
  await client.waitForTransactionReceipt({ hash });
  assert.equal(await client.getCode({ address: account.address }), concatHex(['0xef0100', contractAddress]));
}
