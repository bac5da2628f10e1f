// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IPermit2, SandboxExactProxy} from "./SandboxExactProxy.sol";

/// The same proxy for TRON's Nile testnet, where Permit2 stands at TYQuuhGbEMxF7nZxUHV3uHJxAVVAegNU9h.
contract SandboxTronExactProxy is SandboxExactProxy {
    function PERMIT2() public pure override returns (IPermit2) {
        return IPermit2(0xf62f506D1FaA02e2354a9886B4A200496EE96F4b);
    }
}
