// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

// ERC-1271 accounts, honest and hostile, for the tests only.

import {ECDSA} from '@openzeppelin/contracts/utils/cryptography/ECDSA.sol';

bytes4 constant MAGIC = 0x1626ba7e;

/// @dev An honest account: its owner's 65-byte signature counts.
contract OwnedSigner {
    address private immutable OWNER;

    constructor(address owner) {
        OWNER = owner;
    }

    function isValidSignature(bytes32 digest, bytes calldata signature) external view returns (bytes4) {
        (address recovered, , ) = ECDSA.tryRecoverCalldata(digest, signature);
        return recovered == OWNER ? MAGIC : bytes4(0xffffffff);
    }
}

/// @dev Says yes to everything.
contract YesSigner {
    function isValidSignature(bytes32, bytes calldata) external pure returns (bytes4) {
        return MAGIC;
    }
}

/// @dev Says no, in ERC-1271's customary way.
contract NoSigner {
    function isValidSignature(bytes32, bytes calldata) external pure returns (bytes4) {
        return 0xffffffff;
    }
}

/// @dev Says yes if and only if it was given its whole allowance (a little of which is gone by the time it looks).
contract GasProbeSigner {
    function isValidSignature(bytes32, bytes calldata) external view returns (bytes4) {
        uint256 left = gasleft();
        return left > 119_000 && left <= 120_000 ? MAGIC : bytes4(0xffffffff);
    }
}

/// @dev Reverts with a reason.
contract RevertingSigner {
    function isValidSignature(bytes32, bytes calldata) external pure returns (bytes4) {
        revert('no');
    }
}

/// @dev Never ends.
contract LoopingSigner {
    function isValidSignature(bytes32, bytes calldata) external pure returns (bytes4) {
        while (true) {}
        return MAGIC;
    }
}

/// @dev Burns all its gas at once.
contract BurningSigner {
    function isValidSignature(bytes32, bytes calldata) external pure returns (bytes4) {
        assembly {
            invalid()
        }
    }
}

/// @dev Answers with the magic value and no more than its four bytes.
contract ShortSigner {
    fallback() external {
        assembly {
            mstore(0, shl(224, 0x1626ba7e))
            return(0, 4)
        }
    }
}

/// @dev Takes every call and answers nothing.
contract SilentSigner {
    fallback() external {}
}

/// @dev Answers with the magic value followed by bytes that a bytes4 has not.
contract DirtySigner {
    fallback() external {
        assembly {
            mstore(0, or(shl(224, 0x1626ba7e), 1))
            return(0, 32)
        }
    }
}

/// @dev Answers with 200 kB that do not begin with the magic value.
contract FloodingSigner {
    fallback() external {
        assembly {
            return(0, 200000)
        }
    }
}

/// @dev Reverts with 200 kB.
contract FloodRevertingSigner {
    fallback() external {
        assembly {
            revert(0, 200000)
        }
    }
}

/// @dev Tries to write while it is asked, then says yes.
contract WritingSigner {
    uint256 private asked;

    function isValidSignature(bytes32, bytes calldata) external returns (bytes4) {
        asked += 1;
        return MAGIC;
    }
}
