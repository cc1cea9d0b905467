// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// @dev Makes calls one after the other in one transaction and tells what became of each: thousands of steps, each judged,
/// at the price of a few hundred blocks. The registry cannot see that it is called through a contract.
contract Runner {
    event Returned(bool success, bytes data);

    function run(address target, bytes[] calldata calls) external {
        for (uint256 i = 0; i < calls.length; ++i) {
            (bool success, bytes memory data) = target.call(calls[i]);
            emit Returned(success, data);
        }
    }
}
